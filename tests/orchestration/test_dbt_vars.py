"""The variables of the dbt project are the settings of the dataset, with the same defaults and choices."""

import re
from enum import Enum
from typing import get_args

import pytest
import yaml

from ml.data.variants import TIE_RULES
from orchestration.dataset_settings import SLICES
from orchestration.dbt import DBT_FOLDER
from orchestration.resources import DEFAULTS, Settings

VARS = yaml.safe_load((DBT_FOLDER / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
# how the warehouse is built and not what it holds
NOT_A_SETTING = {"k_core_rows_in_memory"}
# a word that a macro accepts for a variable: one_of('split', ['leave-one-out', 'leave-last-k', ...])
ONE_OF = re.compile(r"one_of\('(\w+)', \[(.*?)\]\)")


def choices() -> dict[str, list[str]]:
    """The words that the macros accept, by variable."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted(DBT_FOLDER.glob("macros/*.sql")))
    return {name: re.findall(r"'([^']+)'", words) for name, words in ONE_OF.findall(code)}


def test_every_setting_of_a_dataset_is_a_variable_and_no_other() -> None:
    assert set(VARS) - NOT_A_SETTING == set(SLICES["dataset"][1])
    assert set(VARS) & set(DEFAULTS) == set(VARS) - NOT_A_SETTING


@pytest.mark.parametrize("name", sorted(set(VARS) - NOT_A_SETTING))
def test_variable_has_the_default_of_the_setting(name: str) -> None:
    assert VARS[name] == DEFAULTS[name]
    # 0 and False are equal, and so are 1 and True
    assert isinstance(VARS[name], bool) == isinstance(DEFAULTS[name], bool)
    assert isinstance(VARS[name], str) == isinstance(DEFAULTS[name], str)


def test_macros_accept_the_choices_of_the_settings() -> None:
    enumerations = {
        name: kind
        for name in VARS
        if name in DEFAULTS
        for kind in get_args(Settings.model_fields[name].annotation)
        if isinstance(kind, type) and issubclass(kind, Enum)
    }
    assert set(enumerations) == {"split", "tie_order"}
    assert choices() == {name: [member.value for member in kind] for name, kind in enumerations.items()}
    # the audits order ties in numpy
    assert set(TIE_RULES) == set(choices()["tie_order"])
