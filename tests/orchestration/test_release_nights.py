"""Twenty nights of releases with faults: the champion always loads, is never replaced by a worse one, and the history
says who is in charge. The checks are those of the soak (``benchmarks/soak.py``), which does it with whole runs."""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import pytest
from test_release_assets import Shop, sessions

import raw2rank
from benchmarks.soak_checks import (
    champion_loads,
    history_is_whole,
    not_worse,
    nothing_half_written,
    versions_are_cleared,
)
from ml.data.training_set import TrainingSet
from ml.release.bundle import BundleError
from ml.release.gate.decision import PROMOTE, REFUSE, digest_of
from ml.release.gate.history import PROMOTED_BY_HAND, ROLLED_BACK, read_history
from orchestration.assets.release import release_assets
from orchestration.execution.crash_recovery import clean_tree
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.release import ReleaseError, promote, roll_back, settle

NIGHTS = 20
FAULTS = ("none", "killed", "full disk", "worse", "roll-back", "by hand", "damaged champion", "damaged candidate")
CALLS = ("replace", "rename", "unlink")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("nights")
    with pytest.MonkeyPatch.context() as patch, dg.instance_for_test() as instance:
        patch.setenv("RAW2RANK_HOME", str(home))
        instance.add_dynamic_partitions(datasets.name, ["Small"])
        yield Shop(Workspace.current().dataset("Small"), instance)


def struck(at: int, strike: Callable[[], None]) -> dict[str, Callable]:
    """The calls that put files in place, counted together; one of them is struck."""
    left = at

    def counted(original: Callable) -> Callable:
        def call(*given: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == -1:
                strike()
            return original(*given, **named)

        return call

    return {name: counted(getattr(os, name)) for name in CALLS}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def settle_and_die(paths: DatasetPaths, at: int) -> None:
    """Put the candidate in charge in a process that is killed on the way.

    It reads files with no library that has threads, which would be missing after a fork.
    """

    def body() -> None:
        for name, call in struck(at, die).items():
            setattr(os, name, call)
        settle(paths)

    process = get_context("fork").Process(target=body)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)


def in_charge(shop: Shop) -> Path | None:
    return Path(os.path.realpath(shop.paths.champion)) if shop.paths.champion.exists() else None


@pytest.mark.slow
def test_twenty_nights(shop: Shop, capfd: pytest.CaptureFixture) -> None:
    rng = random.Random(0)
    kinds: list[str] = ["none"]
    while len(kinds) < NIGHTS:
        kinds += rng.sample(FAULTS, len(FAULTS))
    promoted = 0
    for number, fault in enumerate(kinds[:NIGHTS]):
        night = f"night {number}, {fault}"
        data: TrainingSet = sessions(users=250 + 10 * number)
        before = in_charge(shop)
        release = rng.choice(("random", "most_popular")) if fault in ("worse", "by hand") else ""
        shop.land(data, ("markov_chain", "random"), release)
        by_hand = False
        if fault == "killed":
            shop.make(*release_assets[:2])
            settle_and_die(shop.paths, rng.randrange(12))
        elif fault == "full disk":
            with pytest.MonkeyPatch.context() as patch:
                for name, call in struck(rng.randrange(40), no_space).items():
                    patch.setattr(os, name, call)
                with suppress(OSError):
                    shop.make()
        elif fault == "damaged champion" and before is not None:
            file = rng.choice(sorted(path for path in before.rglob("*") if path.suffix in (".npy", ".parquet")))
            file.write_bytes(file.read_bytes()[:-1])
            before = None
        assert not champion_loads(shop.paths) or before is None, night
        clean_tree(shop.paths.lake)
        shop.make()
        if fault == "damaged candidate":
            file = shop.paths.asset("release", "candidate") / "catalogue.parquet"
            file.write_bytes(file.read_bytes()[1:])
            with pytest.raises(BundleError, match=r"catalogue\.parquet"):
                promote(shop.paths)
        elif fault in ("by hand", "roll-back"):
            by_hand = True
            # the first release has none before it, and the best candidate is in charge already
            with suppress(ReleaseError):
                state = promote(shop.paths) if fault == "by hand" else roll_back(shop.paths, "a complaint")
                assert state.release == digest_of(raw2rank.load(shop.paths.champion)), night
        elif fault == "worse":
            assert shop.decision.verdict == REFUSE, night
            assert "not_less_accurate" in shop.decision.sentence, night
            assert in_charge(shop) == before, night
        promoted += shop.decision.verdict == PROMOTE
        broken = [
            *champion_loads(shop.paths),
            *history_is_whole(shop.paths),
            *nothing_half_written(shop.paths.home),
            *versions_are_cleared(shop.paths),
        ]
        if before is not None and not by_hand:
            broken += not_worse(shop.paths, before)[0]
        assert not broken, night
    events = read_history(shop.paths.asset("release"))
    assert promoted >= NIGHTS // 3
    assert {PROMOTED_BY_HAND, ROLLED_BACK} & {event.event for event in events}
