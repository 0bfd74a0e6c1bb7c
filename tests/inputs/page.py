"""``docs/inputs.md``, made by landing every input."""

from __future__ import annotations

from pathlib import Path

from .entry import Input
from .registry import INPUTS
from .run import Outcome, outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "inputs.md"
_INTRODUCTION = """# Inputs, and what happens

Every line is a small input that a test makes and lands; the sentences are those of the run. `python -m tests.inputs`
makes this page, and `tests/inputs/` holds the inputs. Unless another name is given, the dataset is called `shop`.

- **Refused**: nothing is landed, and the command ends with this sentence and exit code 1.
- **Stops the run**: landed, and a critical rule of a [contract](contracts.md) is broken; nothing is trained.
- **Reject**: a line that is not a row, kept with its file, line number, byte offset and reason.
- **Warning**: shown by the terminal, the Data Docs and the report; the run goes on.
"""


def page(outcomes: dict[str, Outcome] | None = None) -> str:
    """The page, as it is to stand in ``docs/``; of outcomes that are known already, or of a run over all inputs."""
    found = outcomes or {entry.id: outcome(entry) for entry in INPUTS}
    groups: dict[str, list[Input]] = {}
    for entry in INPUTS:
        groups.setdefault(entry.group, []).append(entry)
    parts = [_INTRODUCTION]
    for group, entries in groups.items():
        rows = [f"| {_cell(entry.title)} | {_cell(found[entry.id].to_text())} |" for entry in entries]
        parts.append("\n".join([f"## {group}", "", "| Input | What happens |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _cell(text: str) -> str:
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return " ".join(shown.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split(" "))
