"""`make check-data`: a dump is judged by every rule, and nothing is trained on it.

The slow tests on one workspace follow each other: accepted, again, half of it gone, accepted by hand. Of a sound dump
that was run `test_run.py` asks the same, and of the rule for fewer rows `tests/unit/test_contracts.py`.
"""

import gzip

import pytest
from whole_runs import assert_sound, rule_results
from workbench import Workbench, write_small_dump

DATA = {"settings", "landing", "staging", "intermediate", "marts"}


def assert_nothing_is_trained(bench: Workbench) -> None:
    made = {key.split("/")[0] for key, times in bench.materializations().items() if times}
    assert made <= DATA
    assert not bench.lake("training_sets").exists()
    assert not bench.lake("models").exists()


@pytest.mark.slow
def test_a_sound_dump_passes_every_rule(kept: Workbench) -> None:
    write_small_dump(kept.dumps)
    code, said = kept.check("--verbose")
    assert code == 0, said
    assert_sound(said)
    assert kept.materializations()["marts/accepted"] == 1
    assert_nothing_is_trained(kept)
    docs = kept.home / "data_docs" / "Small"
    assert f"data docs: {docs / 'index.html'}" in said
    assert {path.relative_to(docs).as_posix() for path in docs.rglob("*.html")} >= {
        "index.html",
        "landing/reviews.html",
        "staging/stg_reviews.drift.html",
        "marts/statistics.html",
    }


@pytest.mark.slow
def test_again_the_same_is_said_and_nothing_is_made(kept: Workbench) -> None:
    before = kept.materializations()
    code, said = kept.check("--verbose")
    assert code == 0, said
    assert kept.materializations() == before
    assert "making" not in said
    assert "Nothing to compare with" in said
    assert set(rule_results(said).values()) <= {"passed", "warned"}


@pytest.mark.slow
def test_a_dump_that_lost_more_than_half_of_its_rows_is_drift(kept: Workbench) -> None:
    dump = kept.dumps / "Small.json.gz"
    lines = gzip.decompress(dump.read_bytes()).splitlines(keepends=True)
    dump.write_bytes(gzip.compress(b"".join(lines[: len(lines) * 9 // 20]), mtime=0))
    accepted = (kept.lake("marts", "accepted", "reviews") / "accepted.json").read_bytes()
    code, said = kept.check("--verbose")
    assert code == 1, said
    results = rule_results(said)
    assert {key for key, result in results.items() if result == "failed"} == {
        ("staging/stg_reviews.drift", "not_fewer_than_half")
    }
    assert results["staging/stg_reviews.drift", "about_as_many"] == "warned"
    assert "ACCEPT=1" in said
    assert "Compared with the state that was accepted at" in said
    assert (kept.lake("marts", "accepted", "reviews") / "accepted.json").read_bytes() == accepted
    assert_nothing_is_trained(kept)


@pytest.mark.slow
def test_what_is_accepted_by_hand_passes(kept: Workbench) -> None:
    code, said = kept.check("--verbose", "--accept")
    assert code == 0, said
    assert "accepted by hand: reviews" in said
    results = rule_results(said)
    assert results["staging/stg_reviews.drift", "not_fewer_than_half"] == "passed"
    assert "failed" not in results.values()
    assert_nothing_is_trained(kept)


def test_a_file_that_is_cut_short_is_named(bench: Workbench) -> None:
    write_small_dump(bench.dumps)
    dump = bench.dumps / "Small.json.gz"
    content = dump.read_bytes()
    dump.write_bytes(content[: len(content) * 2 // 3])
    code, said = bench.check("--verbose")
    assert code == 1, said
    results = rule_results(said)
    assert {key for key, result in results.items() if result == "failed"} == {("landing/reviews", "file_is_whole")}
    explained = said[said.index("FAILED landing/reviews: file_is_whole") :]
    assert "Small.json.gz" in explained
    assert {result for (asset, _), result in results.items() if asset.startswith("marts/")} == {"not checked"}
    assert "Traceback" not in said
    assert_nothing_is_trained(bench)


def test_no_dump_is_a_failure_with_a_table(bench: Workbench) -> None:
    code, said = bench.check("--verbose")
    assert code == 1, said
    assert str(bench.dumps) in said
    assert set(rule_results(said).values()) == {"not checked"}
    assert_nothing_is_trained(bench)
