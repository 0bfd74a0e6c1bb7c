"""``docs/options.md``, made from the settings: ``python -m orchestration.pages.options``."""

from __future__ import annotations

from enum import Enum

from orchestration.options import kind_of
from orchestration.paths import REPOSITORY
from orchestration.resources import DEFAULTS, Settings

PAGE = "docs/options.md"
_INTRODUCTION = """# Options

This page is made from the code: `python -m orchestration.pages.options`.

Give settings to `make run` and `make check-data` as variables, `make run DATASET=Beauty K_CORE=3 EXCLUDE_SEEN=yes`, or
as options of the commands, `--k-core=3`; in the Dagster UI they are the `settings` block of the launchpad, with names
in lower case.

- Switches are `1`, `true`, `yes`, `on` or `0`, `false`, `no`, `off`, in upper or lower case.
- Numbers are plain digits: `1000`, not `1_000` or `1,000`.
- Any other value, and a variable that a command does not know (`DATASE=Beauty`), is refused with what is possible.
- Values may hold blanks, quotes, `$` and `#`; quote them for the shell: `make run DUMPS='my $folder'`.

## What holds when a setting is not given

| Where | A setting that is not given |
|---|---|
| `make run` | has its default below, so the command line alone describes the run. Without the same `RECIPES` as \
before, the quick ones are compared; models of other recipes stay on disk. |
| `make check-data` | stays as written down for the dataset; before the first run it has its default. What is trained \
and compared is never changed. |
| Launchpad, "Materialize all" | stays as written down for the dataset; before the first run it has its default. |
| Schedule, sensors | stays as written down for the dataset; before the first run it has its default. |

`TRAINING_PROCESS`, `TRAINING_PROCESSES`, `DEVICE` and `PRECISION` say how a run computes and are not written down: they
have their default wherever they are not given.

## Settings

| Name | Default | Possible | What it does |
|---|---|---|---|
"""


def page() -> str:
    """The page, as it is to stand in ``docs/``."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = DEFAULTS[name]
        shown = "none" if default in ("", []) else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{name.upper()}` | {shown} | {_possible(name, field)} | {field.description} |")
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _possible(name: str, field) -> str:
    kind = kind_of(field.annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if kind in (int, float):
        word = "whole number" if kind is int else "number"
        limits = {type(limit).__name__: limit for limit in field.metadata}
        bounds = [
            text
            for text in (
                f"at least {limits['Ge'].ge}" if "Ge" in limits else "",
                f"at most {limits['Le'].le}" if "Le" in limits else "",
                f"below {limits['Lt'].lt}" if "Lt" in limits else "",
            )
            if text
        ]
        return ", ".join([word, *bounds])
    if kind is bool:
        return "switch"
    if name.endswith("_date"):
        return "day, or empty"
    if name.endswith("_from"):
        return "quantile between 0 and 1, or day"
    return "names, separated by commas" if name == "recipes" else "name, or empty"


if __name__ == "__main__":
    (REPOSITORY / PAGE).write_text(page(), encoding="utf-8")
