"""Results over time, as their assets left them."""

from __future__ import annotations

from pathlib import Path

from ml.release.over_time import Standing, read_standings
from ml.release.progress import Result, read_series


def history_folder(lake: Path) -> Path:
    """Folder of the results over time in the lake of a dataset."""
    return lake / "evaluation" / "history"


def results_over_time(lake: Path) -> tuple[Standing, ...]:
    """The results without the clock, so that equal input gives an equal report; the oldest first.

    Raises:
        OverTimeError: what was saved cannot be read.
    """
    return tuple(entry.timeless() for entry in read_standings(history_folder(lake)))


def made_over_time(lake: Path) -> tuple[tuple[str, str], ...]:
    """When each result was made, and in which run, in the order of the results.

    Raises:
        OverTimeError: what was saved cannot be read.
    """
    return tuple((entry.when, entry.run) for entry in read_standings(history_folder(lake)))


def progress(lake: Path) -> tuple[Result, ...]:
    """What releases were worth for the interactions that came after them, the oldest first.

    Raises:
        ProgressError: what was saved cannot be read.
    """
    return tuple(read_series(lake / "release" / "progress"))
