"""Putting a release in charge: by the decision of the gate, by hand, or back to the one before.

What is about to be done is written down first, then the bundle is put in place, in one step, then the history. A
process that is killed in between leaves a champion that loads, and what was written down, by which :func:`complete`
adds what is missing. Every change begins with it, and so does every command on a dataset.

Whoever calls holds the lock of the dataset (:mod:`orchestration.dataset_lock`).
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.paths import DatasetPaths

if TYPE_CHECKING:
    from ml.release.bundle import Bundle
    from ml.release.gate.history import Event

# champions before the one in charge that stay on disk, to roll back to
CHAMPIONS_KEPT = 4
THE_GATE = "the gate"
STATE_FILE = "champion.json"
# beside it while another release is put in charge: the line of the history, and what the state is to say
UNDER_WAY_FILE = "under_way.json"


class ReleaseError(ValueError):
    """What was asked for is not possible; the message says why and what to do."""


@dataclass(frozen=True)
class State:
    """What is in charge, after somebody or the gate was asked to change it.

    Attributes:
        release: digest of the release in charge; empty where there is none.
        name: of its recommender.
        title: shown to readers.
        since: when it was put in charge; empty where that is not known.
        sentence: what was done.
    """

    release: str
    name: str
    title: str
    since: str
    sentence: str


def read_state(paths: DatasetPaths) -> State | None:
    """What is in charge of a dataset, as it was last written down; ``None`` before the first decision.

    Raises:
        DamagedFile: it cannot be read.
    """
    from ml.data.files import read_json

    folder = paths.asset("release")
    return State(**read_json(folder, STATE_FILE)) if (folder / STATE_FILE).exists() else None


def settle(paths: DatasetPaths, run: str = "") -> State:
    """Do what the last decision says: put the candidate in charge, or leave the champion.

    The decision counts only for the candidate and against the champion that it was made for.

    Args:
        paths: of the dataset.
        run: the Dagster run, for the history.

    Raises:
        BundleError: the candidate that is to be promoted is damaged; the champion stays.
        HistoryError: the history cannot be read; the champion stays.
        ReleaseError: there is no decision yet.
    """
    from ml.data.versions import current_version
    from ml.release.bundle import load
    from ml.release.gate.decision import PROMOTE, REFUSE, digest_of
    from ml.release.gate.history import PROMOTED, REFUSED, Event, in_charge, now, read_history, rolled_back
    from ml.release.gate.run import champion_digest, open_champion
    from ml.reports.collect.release import read_decision

    decision = read_decision(paths.lake)
    if decision is None:
        raise ReleaseError("there is no decision on a release yet: make release/decision first")
    complete(paths)
    history = read_history(paths.asset("release"))
    champion = open_champion(paths.champion)
    current = champion_digest(champion)
    wanted = decision.candidate
    if decision.verdict != PROMOTE or wanted is None:
        if decision.verdict == REFUSE and wanted is not None and not _is_last(history, REFUSED, wanted.digest):
            _add(paths, REFUSED, wanted.digest, wanted.name, current, THE_GATE, decision.sentence, run)
        return _state(paths, champion.bundle, decision.sentence)
    if wanted.digest == current:
        # by an earlier run, which may have been killed before it could write the history
        standing = in_charge(history)
        if not standing or standing[-1].release != current:
            _add(paths, PROMOTED, current, wanted.name, current, THE_GATE, decision.sentence, run)
        return _state(paths, champion.bundle, decision.sentence)
    source = current_version(paths.asset("release", "candidate"))
    on_disk = digest_of(load(source)) if source is not None else ""
    judged_against = decision.champion.digest if decision.champion else ""
    if on_disk != wanted.digest or judged_against != current or rolled_back(history, wanted.digest):
        sentence = (
            f"{wanted.title} is not promoted: the candidate or the champion is another one than when the gate decided. "
            "The next run decides again; promote puts a candidate in charge by hand."
        )
        return _state(paths, champion.bundle, sentence)
    assert source is not None  # it has a digest
    event = Event(now(), PROMOTED, wanted.digest, wanted.name, wanted.digest, THE_GATE, decision.sentence, run)
    return _change(paths, source, event, decision.sentence)


def promote(paths: DatasetPaths, version: str = "", reason: str = "", run: str = "") -> State:
    """Put a release in charge by hand, whatever the gate said.

    Args:
        paths: of the dataset.
        version: the first digits of its digest, or of its version as ``make history`` lists it; empty for the present
            candidate.
        reason: why, for the history.
        run: the Dagster run, for the history.

    Raises:
        ReleaseError: there is no such release on disk.
        BundleError: it is damaged.
        HistoryError: the history cannot be read.
    """
    from ml.data.versions import current_version
    from ml.release.bundle import load
    from ml.release.gate.decision import digest_of
    from ml.release.gate.history import PROMOTED_BY_HAND, Event, now, read_history

    complete(paths)
    read_history(paths.asset("release"))
    if version:
        source = _find(paths, version)
    else:
        found = current_version(paths.asset("release", "candidate"))
        if found is None or not (found / "bundle.json").exists():
            raise ReleaseError(f"there is no candidate: make run DATASET={paths.dataset} makes one")
        source = found
    bundle = load(source)
    digest = digest_of(bundle)
    if digest == _digest_in_charge(paths):
        raise ReleaseError(f"{bundle.title} ({digest[:12]}) is in charge already")
    why = reason or "no reason given"
    event = Event(now(), PROMOTED_BY_HAND, digest, bundle.name, digest, _who(), why, run)
    return _change(paths, source, event, f"{bundle.title} ({digest[:12]}) was promoted by hand ({why}).")


def roll_back(paths: DatasetPaths, reason: str = "", run: str = "") -> State:
    """Put the release in charge that was so before the present one. The present one is not promoted again unless
    somebody does it by hand.

    Args:
        paths: of the dataset.
        reason: why, for the history.
        run: the Dagster run, for the history.

    Raises:
        ReleaseError: there is no release before it, or it is not on disk any more.
        BundleError: it is damaged.
        HistoryError: the history cannot be read.
    """
    from ml.release.bundle import load
    from ml.release.gate.decision import digest_of
    from ml.release.gate.history import ROLLED_BACK, Event, in_charge, now, read_history

    complete(paths)
    standing = in_charge(read_history(paths.asset("release")))
    if len(standing) < 2:
        raise ReleaseError(
            "there is no release before the one in charge to roll back to: promote --version puts another one in charge"
        )
    taken_back, before = standing[-1], standing[-2]
    source = _find(paths, before.release)
    bundle = load(source)
    why = reason or "no reason given"
    digest = digest_of(bundle)
    event = Event(now(), ROLLED_BACK, taken_back.release, taken_back.name, digest, _who(), why, run)
    sentence = f"Rolled back from {taken_back.release[:12]} to {bundle.title} ({digest[:12]}) ({why})."
    return _change(paths, source, event, sentence)


def complete(paths: DatasetPaths) -> State | None:
    """Write down what an interrupted change has done, if it put a release in charge; does nothing where there is none.

    Args:
        paths: of the dataset.

    Returns:
        What is in charge; ``None`` where nothing was broken off, or before another release was in charge.

    Raises:
        HistoryError: the history cannot be read.
    """
    path = paths.asset("release") / UNDER_WAY_FILE
    if not path.exists():
        return None
    from ml.data.files import DamagedFile, read_json
    from ml.release.gate.history import Event, HistoryError, add, read_history
    from ml.release.gate.run import champion_digest, open_champion

    try:
        known = read_json(path)
        event, sentence = Event(**known["event"]), str(known["sentence"])
    except (DamagedFile, HistoryError, KeyError, TypeError):
        # by somebody else: it is written whole or not at all
        path.unlink()
        return None
    champion = open_champion(paths.champion)
    state = None
    if champion_digest(champion) == event.in_charge:
        if event not in read_history(paths.asset("release")):
            add(paths.asset("release"), event)
        state = _state(paths, champion.bundle, sentence)
    path.unlink()
    return state


def champion_is_lost(paths: DatasetPaths) -> bool:
    """Whether a release is in charge by what was written down, or that cannot be read, and its folder is gone."""
    if paths.champion.exists():
        return False
    state = _state_if_whole(paths)
    return state is None or bool(state.release)


def _state_if_whole(paths: DatasetPaths) -> State | None:
    """What is in charge; ``None`` where it cannot be read, so that the next decision writes it anew."""
    from ml.data.files import DamagedFile

    try:
        return read_state(paths) or State("", "", "", "", "")
    except (DamagedFile, TypeError):
        return None


def put_champion_back(paths: DatasetPaths) -> bool:
    """Put the release in charge back in its place where somebody removed the folder, or the link to it.

    Its version may be on disk still, or the candidate is the same release. Where it is neither, the gate decides on the
    candidate as on a first release.

    Returns:
        Whether it was put back.
    """
    state = _state_if_whole(paths) if champion_is_lost(paths) else None
    if state is None:
        return False
    source = next((folder for digest, folder in releases(paths) if digest == state.release), None)
    if source is not None:
        _put_in_charge(paths, source)
    return source is not None


def releases(paths: DatasetPaths) -> Iterator[tuple[str, Path]]:
    """Digest and folder of every release on disk that can be loaded, those that were in charge first."""
    from ml.data.versions import versions_of
    from ml.release.bundle import BundleError, load
    from ml.release.gate.decision import digest_of

    for folder in (paths.champion, paths.asset("release", "candidate")):
        for version in versions_of(folder):
            try:
                yield digest_of(load(version.path)), version.path
            except BundleError:
                # no bundle where no release was asked for; a damaged one cannot be put in charge
                continue


def _find(paths: DatasetPaths, asked: str) -> Path:
    """The release whose digest begins so; or whose version on disk does, which is what ``make history`` lists."""
    wanted = asked.strip().lower()
    known: dict[str, list[Path]] = {}
    for digest, folder in releases(paths):
        known.setdefault(digest, []).append(folder)
    found = [
        folders[0]
        for digest, folders in known.items()
        if any(name.startswith(wanted) for name in (digest, *(folder.name for folder in folders)))
    ]
    if len(found) == 1:
        return found[0]
    there = ", ".join(digest[:12] for digest in known) or "none"
    how = "more than one release begins with" if found else "there is no release"
    raise ReleaseError(f"{how} {asked} that can be loaded in {paths.asset('release')}; there are {there}")


def _digest_in_charge(paths: DatasetPaths) -> str:
    from ml.release.gate.run import champion_digest, open_champion

    return champion_digest(open_champion(paths.champion))


def _change(paths: DatasetPaths, source: Path, event: Event, sentence: str) -> State:
    """Put a release in charge, with what is to be written down about it."""
    from ml.data.files import atomic_file

    with atomic_file(paths.asset("release") / UNDER_WAY_FILE) as file:
        known = {"event": asdict(event), "sentence": sentence}
        file.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _put_in_charge(paths, source)
    state = complete(paths)
    assert state is not None  # the release of the event is in charge
    return state


def _put_in_charge(paths: DatasetPaths, source: Path) -> None:
    from ml.data.versions import versioned_folder
    from ml.release.bundle import load

    with versioned_folder(paths.champion, keep=CHAMPIONS_KEPT) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        # every byte is as it was written, or nothing is put in charge
        load(folder)


def _is_last(history: list[Event], event: str, release: str) -> bool:
    return bool(history) and (history[-1].event, history[-1].release) == (event, release)


def _add(
    paths: DatasetPaths, event: str, release: str, name: str, in_charge: str, who: str, why: str, run: str
) -> None:
    from ml.release.gate.history import Event, add, now

    add(paths.asset("release"), Event(now(), event, release, name, in_charge, who, why, run))


def _state(paths: DatasetPaths, bundle: Bundle | None, sentence: str) -> State:
    """The state after a change, which is written down beside the champion."""
    from ml.data.files import atomic_file
    from ml.release.gate.decision import digest_of
    from ml.release.gate.history import in_charge, read_history

    if bundle is None:
        state = State("", "", "", "", sentence)
    else:
        digest = digest_of(bundle)
        standing = [event.when for event in in_charge(read_history(paths.asset("release"))) if event.release == digest]
        state = State(digest, bundle.name, bundle.title, standing[-1] if standing else "", sentence)
    path = paths.asset("release") / STATE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write_text(json.dumps(asdict(state), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return state


def _who() -> str:
    """The user of the machine; of the service where that is asked for in the UI."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # a container whose user has no name
        return f"user {os.getuid()}"
