"""``make promote`` and ``make rollback``: what they put in charge, what they write down, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from release_toys import release

import raw2rank
from ml.release.gate.history import PROMOTED_BY_HAND, ROLLED_BACK, read_history
from orchestration.commands.promote import main as promote
from orchestration.commands.rollback import main as rollback
from orchestration.dataset_lock import dataset_lock
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A dataset with a candidate, and no release in charge."""
    assert defs.resolve_job_def("promote"), "loaded before the workspace is another one, which dbt would parse again"
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "home"))
    paths = Workspace.current().dataset("Toys")
    paths.asset("release").mkdir(parents=True)
    release(paths.asset("release", "candidate"), tmp_path)
    return paths


def test_releases_are_promoted_and_rolled_back_with_their_reasons(paths: DatasetPaths, tmp_path: Path, capsys) -> None:
    assert promote(["Toys"]) == 0
    assert "was promoted by hand (no reason given)" in capsys.readouterr().out
    assert raw2rank.load(paths.champion).name == "markov_chain"
    first = read_history(paths.asset("release"))[0].release

    assert rollback(["Toys"]) == 1
    assert "there is no release before the one in charge to roll back to" in capsys.readouterr().err

    release(paths.asset("release", "candidate"), tmp_path, "most_popular")
    assert promote(["--dataset", "Toys", "--version", "0000"]) == 1
    told = capsys.readouterr().err
    assert "there is no release 0000 that can be loaded" in told
    assert first[:12] in told, "it lists those that there are"
    assert raw2rank.load(paths.champion).name == "markov_chain"

    assert promote(["--dataset", "Toys", "--reason", "a sale"]) == 0
    assert raw2rank.load(paths.champion).name == "most_popular"
    assert rollback(["Toys", "--reason", "complaints"]) == 0
    assert f"to First-order Markov chain ({first[:12]}) (complaints)." in capsys.readouterr().out
    assert raw2rank.load(paths.champion).name == "markov_chain"

    events = read_history(paths.asset("release"))
    assert [(one.event, one.name, one.why) for one in events] == [
        (PROMOTED_BY_HAND, "markov_chain", "no reason given"),
        (PROMOTED_BY_HAND, "most_popular", "a sale"),
        (ROLLED_BACK, "most_popular", "complaints"),
    ]
    assert all(one.who and one.run for one in events), "who did it, and in which run"


@pytest.mark.parametrize("command", [promote, rollback])
@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("Unknown", "Unknown has no release yet: make run DATASET=Unknown makes a candidate"),
        ("../Toys", "'../Toys' cannot name a dataset"),
    ],
)
def test_a_dataset_without_a_release_is_named(paths: DatasetPaths, command, dataset: str, said: str, capsys) -> None:
    assert command([dataset]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", [promote, rollback])
def test_while_another_process_works_on_the_dataset_nothing_is_changed(paths: DatasetPaths, command, capsys) -> None:
    with dataset_lock(paths, "make run"):
        assert command(["Toys", "--no-wait"]) == 1
    assert "dataset Toys is in use by" in capsys.readouterr().err
    assert not paths.champion.exists()
    assert read_history(paths.asset("release")) == []
