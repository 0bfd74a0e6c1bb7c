"""Releases shown in MLflow: the real registry on SQLite, and what is said where it cannot be reached."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from release_toys import release

import raw2rank
from ml.release.gate.decision import digest_of
from orchestration.mlflow_mirror import ALIAS, MLFLOW, mirror
from orchestration.paths import DatasetPaths, Workspace
from orchestration.release import State, promote, roll_back

LOG = logging.getLogger("run")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "home"))
    paths = Workspace.current().dataset("Toys")
    paths.asset("release").mkdir(parents=True)
    return paths


def promoted(paths: DatasetPaths, scratch: Path, name: str = "markov_chain") -> State:
    release(paths.asset("release", "candidate"), scratch, name)
    return promote(paths, reason="a test")


def test_releases_are_versions_and_the_champion_is_an_alias(
    paths: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv(MLFLOW, address)
    client = mlflow.MlflowClient(tracking_uri=address, registry_uri=address)

    first = promoted(paths, tmp_path)
    with caplog.at_level(logging.INFO, "run"):
        mirror(paths, first, LOG)
    assert "MLflow: version 1 of Toys is the champion" in caplog.text
    second = promoted(paths, tmp_path, "most_popular")
    mirror(paths, second, LOG)
    mirror(paths, second, LOG)
    in_charge = client.get_model_version_by_alias("Toys", ALIAS)
    assert (int(in_charge.version), in_charge.tags["release"]) == (2, second.release)
    assert in_charge.tags["recommender"] == "most_popular"
    assert in_charge.tags["dataset"] == "Toys"
    assert in_charge.description == second.sentence
    bundle = raw2rank.load(in_charge.source.removeprefix("file://"))
    assert digest_of(bundle) == second.release, "its source is the bundle"
    assert in_charge.tags["digest.recommender"] == bundle.digests["recommender"]

    # back in charge, it is the version that it was
    mirror(paths, roll_back(paths), LOG)
    assert int(client.get_model_version_by_alias("Toys", ALIAS).version) == 1
    assert len(client.search_model_versions("name = 'Toys'")) == 2


def test_nothing_is_done_until_it_is_asked_for(
    paths: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(MLFLOW, raising=False)
    monkeypatch.setattr("orchestration.mlflow_mirror._mirrored", lambda *_: pytest.fail("it was mirrored"))
    mirror(paths, promoted(paths, tmp_path), LOG)
    monkeypatch.setenv(MLFLOW, "sqlite:///x.db")
    mirror(paths, State("", "", "", "", "no champion"), LOG)
    assert caplog.text == ""


def test_without_the_extra_it_says_how_to_install_it(
    paths: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(MLFLOW, "sqlite:///x.db")
    monkeypatch.setattr("orchestration.mlflow_mirror.missing", lambda extra: "mlflow")
    mirror(paths, promoted(paths, tmp_path), LOG)
    assert "mlflow is not installed (pip install 'raw2rank[mlflow]'), or unset RAW2RANK_MLFLOW" in caplog.text


def test_a_registry_that_cannot_be_written_fails_no_run_and_tells_no_secret(
    paths: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = "https://ann:secret@mlflow.example/registry?token=secret"
    monkeypatch.setenv(MLFLOW, address)

    def refuse(*_: object) -> str:
        raise RuntimeError(f"cannot reach {address} by ann:secret@mlflow.example as secret\nand more")

    monkeypatch.setattr("orchestration.mlflow_mirror.missing", lambda extra: "")
    monkeypatch.setattr("orchestration.mlflow_mirror._mirrored", refuse)
    mirror(paths, promoted(paths, tmp_path), LOG)
    assert (
        "the release of Toys is in charge, and is not shown in MLflow: cannot reach https://mlflow.example"
        in caplog.text
    )
    assert "the next run tries again" in caplog.text
    assert "secret" not in caplog.text
