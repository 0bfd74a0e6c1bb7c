"""The release that is served, and its exchange for the next one while requests are answered."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ml.release.bundle import Bundle, load
from ml.service.figures import Figures

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Current:
    """A release that is loaded and answers.

    Attributes:
        bundle: the release.
        release: name of its version: the folder it was loaded from.
        since: when it was loaded, in UTC.
    """

    bundle: Bundle
    release: str
    since: datetime


class Served:
    """The release at a place, which may be replaced at any time.

    A request takes :attr:`current` once and answers with it to its end. The next release is loaded and asked once
    beside the current one, and takes its place by one assignment, so that no request waits or fails. A release that
    cannot be loaded is refused once, and the current one goes on.

    Args:
        place: folder of a bundle, or a link to one (:mod:`ml.data.versions`).
        figures: that count exchanges.

    Raises:
        BundleError: there is no bundle, or it cannot be loaded.
        MissingExtra: an extra that the recommender needs is not installed.
    """

    def __init__(self, place: Path, figures: Figures) -> None:
        self.place = place
        self.figures = figures
        self.refused: str | None = None
        self._refused_folder: str | None = None
        self._over = threading.Event()
        self.current = _loaded(Path(os.path.realpath(place)))

    def look(self) -> bool:
        """Exchange the release if the place leads to another one; whether it was exchanged."""
        folder = os.path.realpath(self.place)
        if folder in (str(self.current.bundle.folder), self._refused_folder):
            return False
        try:
            self.current = _loaded(Path(folder))
        except Exception as error:  # noqa: BLE001 - whatever it is, this release goes on, and the one after is looked at
            said = str(error) or type(error).__name__
            self.refused, self._refused_folder = said, folder
            self.figures.add("refused_exchanges", 1)
            log.error("the release %s cannot be served, and %s stays: %s", folder, self.current.release, said)
            return False
        self.refused = self._refused_folder = None
        self.figures.add("exchanges", 1)
        log.info("serving %s (%s)", self.current.release, self.current.bundle.title)
        return True

    def watch(self, seconds: float) -> threading.Thread:
        """Look every so many seconds, in a thread of its own, until :meth:`close`."""

        def run() -> None:
            while not self._over.wait(seconds):
                self.look()

        thread = threading.Thread(target=run, name="releases", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """End the watching."""
        self._over.set()


def _loaded(folder: Path) -> Current:
    """A release that has answered once: what is loaded at the first question is loaded, and its folder may go."""
    bundle = load(folder)
    if bundle.items:
        first = bundle.item_ids[0].decode()
        times = [[0], []] if bundle.reads_times else None
        bundle.recommend([[first], []], k=1, times=times)
        bundle.similar_items(first, k=1)
    return Current(bundle, folder.name, datetime.now(UTC))
