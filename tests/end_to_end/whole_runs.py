"""What the tests of whole runs share: what a run makes again, and changes of a dump."""

import gzip
import json
import re
from pathlib import Path

from ml.baselines.registry import BASELINES

EVALUATION = {
    f"evaluation/{name}"
    for name in (
        *("user_metrics", "further_seeds", "leaderboard", "list_metrics", "slices", "what_helps", "history", "report"),
        *("earlier_folds", "folds"),
    )
}
# made of the leaderboard; the progress is of the interactions alone
RELEASED = {f"release/{name}" for name in ("candidate", "decision", "champion", "recommendations")}
# one model and a fusion that it is a part of, so that little is trained where something changes
FEW = ["--recipes", "tiny_softmax,tiny_fusion"]


def rule_results(said: str) -> dict[tuple[str, str], str]:
    """The result of each rule that `make check-data` prints, by asset and rule."""
    found = re.findall(
        r"^(\S+/\S+) +(\S+) +(?:critical|warning) +(passed|failed|warned|not checked)", said, re.MULTILINE
    )
    return {(asset, rule): result for asset, rule, result in found}


def assert_sound(said: str) -> None:
    """Check what `make check-data` says of a dump in order, of which no earlier state is known."""
    results = rule_results(said)
    assert set(results.values()) <= {"passed", "warned"}
    assert results["landing/reviews", "file_is_whole"] == "passed"
    assert results["staging/stg_reviews.drift", "not_fewer_than_half"] == "passed"
    assert results["marts/reconciliation", "assert_no_row_is_unexplained"] == "passed"
    assert said.count("Nothing to compare with: no earlier state of this dataset was accepted.") == 2


def assert_compared_over_two_seeds(rows: dict[str, dict]) -> None:
    """Check that what is random has two seeds, and nothing else, by the rows of a leaderboard."""
    random = {name for name in rows if name not in BASELINES or BASELINES[name].seeded}
    assert {"tiny_softmax", "tiny_fusion", "random"} <= random
    for name, row in rows.items():
        assert row["seeds"] == (2 if name in random else 1), name
        assert (row["seed_deviation"] is None) == (name not in random), name
    assert rows["tiny_softmax"]["seed_deviation"] > 0


def remade(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """What was made between two moments."""
    return {key for key in after if after[key] != before.get(key, 0)}


def json_lines(path: Path) -> list[dict]:
    found = []
    for line in gzip.decompress(path.read_bytes()).splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # some of the demo's lines are damaged, one by its depth
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def append(path: Path, row: dict) -> None:
    content = gzip.decompress(path.read_bytes()).removesuffix(b"\n")
    path.write_bytes(gzip.compress(content + b"\n" + json.dumps(row).encode() + b"\n", mtime=0))


def rewrite(path: Path, change) -> None:
    lines = [json.dumps(change(row)).encode() for row in json_lines(path)]
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
