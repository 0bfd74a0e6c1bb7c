"""``docs/options.md``, made from the settings: ``python -m orchestration.pages.options``."""

from __future__ import annotations

from enum import Enum

from ml.data.setting_names import RENAMED
from orchestration.dataset_settings import SLICES
from orchestration.options import kind_of
from orchestration.paths import ITEM_FILES, REPOSITORY
from orchestration.resources import DEFAULTS, SETTINGS

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
- Old names are understood with a notice: {old_names}.

## What holds when a setting is not given

| Where | A setting that is not given |
|---|---|
| `make run` | is as in the file of the dataset, else it has its default below, so the file and the command line \
describe the run. Without the same `RECIPES` as before, the quick ones are compared; models of other recipes stay on \
disk. |
| `make check-data` | is as in the file of the dataset, else as the last run wrote it down, else its default. What is \
trained and compared is never changed. |
| Launchpad, "Materialize all" | is as in the file of the dataset, else as the last run wrote it down, else its \
default. |
| Schedule, sensors | is as in the file of the dataset, else as the last run wrote it down, else its default. |

{execution} say how a run computes. They are not written
down and make nothing stale: where they are not given, they are as in the file of the dataset, else they have their
default.

## The file of a dataset

The first run of a dataset writes `datasets/<name>.toml` in the workspace. It is yours to edit:

```toml
# where its files lie, as DUMPS, LAYOUT and SOURCE said; from the workspace, or an absolute path
dumps = "landing/Beauty"

[settings]
# any of the settings below, in lower case
k_core = 3
recipes = ["quick", "gsasrec"]
from_date = 2014-07-23
exclude_seen = true
```

Options and the launchpad override its settings for one run and never change them; the command and the log of the run
say which values come from where. `DUMPS`, `LAYOUT` and `SOURCE` are written into the file; comments and settings stay.

A change of the file makes stale what depends on the changed settings and nothing else; the schedule and the sensors
make that again. When you remove a setting from the file, `make run` uses its default again, while the UI, the schedule
and the sensors keep the value that the last run wrote down. A key, a type or a value that is not possible is refused
with the line.

Workspaces of earlier versions have `datasets/<name>.json` instead. It is read, and the next run writes the TOML file
from it.

## Settings

| Name | Default | Possible | What it does |
|---|---|---|---|
"""


def page() -> str:
    """The page, as it is to stand in ``docs/``."""
    rows = []
    for name, field in SETTINGS.items():
        default = DEFAULTS[name]
        shown = "none" if default in ("", []) else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{name.upper()}` | {shown} | {_possible(name, field)} | {field.description} |")
    old_names = ", ".join(f"`{old.upper()}` for `{new.upper()}`" for old, new in RENAMED.items())
    written_down = {name for _, names in SLICES.values() for name in names}
    *execution, last = (f"`{name.upper()}`" for name in SETTINGS if name not in written_down)
    introduction = _INTRODUCTION.format(old_names=old_names, execution=f"{', '.join(execution)} and {last}")
    return introduction + "\n".join(rows) + "\n"


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
    if name in ITEM_FILES:
        return "path, or empty"
    if name.endswith("_where"):
        return "condition, or empty"
    return "names, separated by commas" if name == "recipes" else "name, or empty"


if __name__ == "__main__":
    (REPOSITORY / PAGE).write_text(page(), encoding="utf-8")
