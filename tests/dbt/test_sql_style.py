"""The SQL keeps the style that ``make lint`` checks, and the check is able to fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlfluff.core import FluffConfig, Linter
from warehouse_dbt import PROJECT, REPOSITORY

BAD_STYLE = """\
with interactions as (
    SELECT * from {{ ref('int_interactions_core') }}
),

unused as (
    select 1 as one
)

select
    user_id
    , count(*) interactions
from interactions
where timestamp != null
group by user_id
having count(*) >= {{ k_core_of('users') }}
"""


@pytest.mark.slow
def test_every_model_and_singular_test_passes() -> None:
    sqlfluff = Path(sys.executable).with_name("sqlfluff")
    done = subprocess.run(
        [sqlfluff, "lint", "--disable-progress-bar", PROJECT.name],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_other_style_is_found_in_a_model_that_calls_macros() -> None:
    config = FluffConfig.from_path(str(PROJECT))
    linted = Linter(config=config).lint_string(BAD_STYLE, fname=str(PROJECT / "models" / "bad.sql"))
    found = {violation.rule_code() for violation in linted.get_violations()}
    # capitals, leading comma, alias without `as`, comparison with null, common table expression that nothing reads
    assert found >= {"CP01", "LT04", "AL02", "CV05", "ST03"}
    # rendered with the variables of the project, and parsed
    assert not found & {"TMP", "PRS"}
    assert linted.templated_file is not None
    assert "having count(*) >= 5" in linted.templated_file.templated_str


def test_every_file_is_parsed_but_for_the_named_lines() -> None:
    unparsed = {
        path.name: line.split("--")[0].strip()
        for path in PROJECT.rglob("*.sql")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "noqa: PRS" in line
    }
    assert set(unparsed) == {"int_core_nodes.sql", "stg_metadata.sql"}
