"""Whether ``make`` or the console script was called, so that messages name the command that can be repeated."""

from __future__ import annotations

import re

_MAKE = re.compile(
    r"\bmake (?=(?:run|check-data|search|reproduce|compare|history|download|ui|publish|fetch|promote|rollback|serve)\b)"
)
# `make clean` removes the environment
_MAKE_CLEAN = re.compile(r"\bmake clean-versions\b")
_by_console_script = False


def console_script() -> None:
    """From now on messages name ``raw2rank run`` where they would name ``make run``."""
    global _by_console_script
    _by_console_script = True


def as_called(text: str) -> str:
    """A message with its commands as the user called this one.

    Both take the same options (``raw2rank run DATASET=Beauty``), so nothing but the name of the program differs.
    """
    return _MAKE_CLEAN.sub("raw2rank clean", _MAKE.sub("raw2rank ", text)) if _by_console_script else text
