"""``make reproduce`` on a file of sequences: from the file to the page of verdicts."""

import gzip
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ml.reproduction.claims import Claim, Protocol
from orchestration.commands.reproduce import main, prepare

pytestmark = pytest.mark.slow

PROTOCOL = Protocol(
    name="rings",
    title="Rings",
    dataset="Rings",
    file="Rings.txt.gz",
    layout="sequence",
    source="made up",
    k_core=0,
    validation_users=0,
    exclude_seen=True,
)
CLAIM = Claim(
    name="rings_markov",
    title="Markov chain",
    protocol="rings",
    recommender="markov_chain",
    fit_on="train",
    source="made up",
    lowest=0.9,
    highest=1.0,
    above=("most_popular",),
    seeds=1,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Users who walk along one ring of 40 items, so that the item before says the next."""
    rng = np.random.default_rng(0)
    lines = [
        " ".join([str(user), *(str((start + step) % 40 + 1) for step in range(9))])
        for user, start in enumerate(rng.integers(0, 40, 120), start=1)
    ]
    (tmp_path / "data" / "deep").mkdir(parents=True)
    with gzip.open(tmp_path / "data" / "deep" / PROTOCOL.file, "wt") as file:
        file.write("\n".join(lines) + "\n")
    return tmp_path / "data"


def test_claims_are_fitted_judged_and_written_down(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    monkeypatch.setattr("ml.reproduction.claims.load_protocols", lambda: {"rings": PROTOCOL})
    refit = replace(CLAIM, name="rings_refit", fit_on="train+validation", lowest=0.5, highest=0.6)
    claims = {claim.name: claim for claim in (CLAIM, refit)}
    monkeypatch.setattr("ml.reproduction.claims.load_claims", lambda: claims)
    # the way from file to split is gone once, the fits are what is asked for again
    once = cache(prepare)
    monkeypatch.setattr("orchestration.commands.reproduce.prepare", once)
    page = tmp_path / "page.md"
    arguments = ["--data", str(data), "--page", str(page)]

    assert main([*arguments, "--claims", "rings_markov"]) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert "2 fits for 1 claims" in said
    assert "rings_markov: reached" in said
    assert page.read_text().count("| not run |") == 1
    results = tmp_path / "home" / "reproduction" / "results" / "rings"
    first = {path: path.stat().st_mtime_ns for path in results.rglob("result.json")}
    assert len(first) == 2

    # interactions without metadata are enough
    assert set(once(PROTOCOL, data / "deep" / PROTOCOL.file).item_text) == {
        "Title: Unknown Brand: Unknown Category: Unknown Price: Unknown"
    }

    # of both, one is not within its bounds; what was fitted before is not fitted again
    assert main(arguments) == 1
    assert "rings_refit: not reached" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in first} == first
    rows = [line for line in page.read_text().splitlines() if line.startswith("| Markov chain |")]
    assert "reached" in rows[0]
    assert "above 0.6000" in rows[1]

    assert main([*arguments, "--claims", "nothing"]) == 1
    assert "there is no claim nothing; there are rings_markov, rings_refit" in capsys.readouterr().err
    (data / "deep" / PROTOCOL.file).unlink()
    assert main(arguments) == 1
    assert "holds no Rings.txt.gz" in capsys.readouterr().err
