"""``import raw2rank``: what it costs, what it names, and the example of the README."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from training_toys import ring_training_set

import raw2rank
from ml.config import TableError
from ml.training.recipe import RECIPES, load_recipe

REPOSITORY = Path(__file__).parents[2]


def test_importing_it_loads_no_library_and_every_name_is_there() -> None:
    code = (
        "import json, sys, raw2rank;"
        "loaded = [name for name in ('torch', 'numpy', 'pyarrow', 'dagster', 'ml') if name in sys.modules];"
        "print(json.dumps([loaded, [getattr(raw2rank, name).__module__ for name in raw2rank.__all__"
        " if name != 'BASELINES']]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded, modules = json.loads(ran.stdout)
    assert loaded == []
    assert len(modules) == 8
    assert all(name.startswith("ml.") for name in modules)


def test_names_are_listed_and_others_are_refused() -> None:
    assert set(raw2rank.__all__) <= set(dir(raw2rank))
    with pytest.raises(AttributeError, match="has no attribute 'BASELINE'"):
        raw2rank.BASELINE  # noqa: B018


def test_the_docstring_is_true() -> None:
    assert doctest.testmod(raw2rank).attempted == 2
    assert doctest.testmod(raw2rank).failed == 0


def test_the_example_of_the_readme(tmp_path, monkeypatch, one_torch_thread) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## In code\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    folder = tmp_path / "workspace" / "lake" / "Demo" / "training_sets" / "sequences"
    folder.mkdir(parents=True)
    training_set = ring_training_set(60)
    training_set.save(folder)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(section[1], "README.md", "exec"), names)
    assert names["best"].items.shape == (60, 10)
    assert names["leaderboard"]["title"].to_pylist() in (["SASRec", "Two-hop graph"], ["Two-hop graph", "SASRec"])


def test_recipes_are_found_by_name_or_by_file() -> None:
    by_name = load_recipe("gsasrec")
    assert by_name == load_recipe(RECIPES / "gsasrec.toml") == load_recipe(str(RECIPES / "gsasrec.toml"))
    with pytest.raises(TableError, match=r"no recipe 'gpt9': give the path of a .toml file, or one of .*gsasrec"):
        load_recipe("gpt9")
    with pytest.raises(TableError, match=r"no recipe file nowhere.toml"):
        load_recipe("nowhere.toml")
