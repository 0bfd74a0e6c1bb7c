"""Each bad input ends with one clear message, a failed run, and nothing half-written."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from costs import others_slow
from workbench import Workbench, write_small_dump


def last_run_status(bench: Workbench) -> dg.DagsterRunStatus:
    with dg.DagsterInstance.from_config(str(bench.home / "dagster")) as instance:
        return instance.get_runs(limit=1)[0].status


def assert_stopped(bench: Workbench, code: int, said: str, *words: str) -> None:
    assert code == 1, said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    for word in words:
        assert word in said, said
    assert "Traceback" not in said
    assert last_run_status(bench) == dg.DagsterRunStatus.FAILURE
    assert not bench.lake("training_sets").exists()
    assert not bench.lake("models").exists()
    assert not list(bench.home.rglob(".writing-*"))


def review(user: int, item: int, day: int) -> dict:
    return {"overall": 4.0, "reviewerID": f"U{user}", "asin": f"I{item:02}", "unixReviewTime": 86_400 * (10_000 + day)}


def write_reviews(folder: Path, rows: list[dict]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "Small.json.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))


def test_no_dump(bench: Workbench) -> None:
    code, said = bench.run()
    assert_stopped(bench, code, said, "Small.json.gz", "Small_5.json.gz", str(bench.dumps))


def test_a_folder_that_does_not_exist(bench: Workbench) -> None:
    bench.dumps.rmdir()
    code, said = bench.run()
    assert code == 1
    assert said.startswith("error: ")
    assert str(bench.dumps) in said
    assert "Traceback" not in said
    # nothing is registered, let alone made
    assert not bench.lake().exists()
    assert not [*(bench.home / "datasets").glob("*.toml"), *(bench.home / "datasets").glob("*.json")]


UNREADABLE = {
    "nothing": (b"", ["Small.json.gz"]),
    "gzip of nothing": (gzip.compress(b""), ["Small.json.gz"]),
    "not gzip": (b"PK\x03\x04 and so on\n", ["Small.json.gz", "zip archive"]),
}


# each sentence is tested in tests/unit/test_landing.py and test_text_stream.py
@pytest.mark.parametrize("case", others_slow(UNREADABLE, "not gzip"))
def test_a_file_that_cannot_be_read(bench: Workbench, case: tuple[bytes, list[str]]) -> None:
    content, words = case
    (bench.dumps / "Small.json.gz").write_bytes(content)
    code, said = bench.run()
    assert_stopped(bench, code, said, *words)
    assert not bench.lake("landing", "reviews").exists()


def test_lines_of_another_kind_break_the_contract(bench: Workbench) -> None:
    rows = [review(user, item, item) for user in range(9) for item in range(9)]
    write_reviews(bench.dumps, rows + [{"title": "not a review"}] * 20)
    code, said = bench.run()
    assert_stopped(bench, code, said, "landing/reviews", "rejected_below_5_percent", "Small.json.gz")


@pytest.mark.slow
def test_a_core_that_leaves_nothing(bench: Workbench) -> None:
    write_reviews(bench.dumps, [review(user, user, day) for user in range(12) for day in range(2)])
    code, said = bench.run()
    works = "the largest that works for this dataset is K_CORE=2, which leaves 12 users, 12 items and 24 interactions"
    assert_stopped(bench, code, said, "Small: the k-core (K_CORE=3) leaves none of 24 interactions", works)


def test_a_name_that_is_no_name(bench: Workbench) -> None:
    code, said = bench.run(dataset="../elsewhere")
    assert code == 1
    assert "cannot name a dataset" in said
    assert not bench.home.exists()


def test_settings_that_are_not_possible(bench: Workbench) -> None:
    code, said = bench.run("--recipes", "gpt9")
    assert code == 1
    assert "there is no recipe gpt9" in said
    code, said = bench.run("--k-core", "-1")
    assert code == 1
    assert "K_CORE" in said
    code, said = bench.run("--fit-on", "test")
    assert code == 1
    assert "FIT_ON=test is not possible" in said
    code, said = bench.run("--recipes", "tiny_fusion")
    assert code == 1
    assert "add tiny_softmax to RECIPES" in said


def test_a_dump_that_is_a_folder(bench: Workbench) -> None:
    (bench.dumps / "Small.json.gz").mkdir()
    code, said = bench.run()
    assert_stopped(bench, code, said, "Small.json.gz")


def _gone(path: Path) -> None:
    path.unlink()


def _cut_short(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", others_slow({"gone": _gone, "cut short": _cut_short}, "gone"))
def test_a_dump_that_is_lost_between_the_look_at_it_and_its_landing(
    bench: Workbench, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml.data.landing import land as landing

    write_reviews(bench.dumps, [review(user, item, item) for user in range(9) for item in range(9)])
    land = landing.land

    def after_the_damage(*arguments, **options):
        damage(bench.dumps / "Small.json.gz")
        return land(*arguments, **options)

    monkeypatch.setattr(landing, "land", after_the_damage)
    code, said = bench.check()
    assert_stopped(bench, code, said, str(bench.dumps), "Small.json.gz")


def test_names_of_three_hundred_letters(bench: Workbench) -> None:
    code, said = bench.run(dataset="n" * 300)
    assert code == 1
    assert "300 letters" in said
    assert not bench.home.exists()
    long = str(bench.dumps / ("n" * 300))
    for code, said in (bench.command("--dataset", "Small", "--dumps", long), bench.run("--source", long)):
        assert code == 1
        assert "Traceback" not in said
        assert len([line for line in said.splitlines() if line.startswith("error: ")]) == 1, said
        assert "nnn" in said


def test_a_damaged_registration(bench: Workbench) -> None:
    from orchestration.paths import Workspace

    paths = Workspace(bench.home).dataset("Small")
    paths.registration.parent.mkdir(parents=True)
    paths.registration.write_text("{")
    code, said = bench.command("--dataset", "Small")
    assert code == 1
    assert said.startswith(f"error: {paths.registration}")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_workspace_of_any_name(bench: Workbench) -> None:
    write_small_dump(bench.dumps)
    bench.home = bench.home / "a#b %20 'q\" [x]*{{ y }};ü" / "year=2020"
    code, said = bench.check()
    assert code == 0, said
    assert "0 failed" not in said
    assert bench.lake("marts", "splits.parquet").is_file()
    # nothing lies beside the workspace
    assert [
        path for path in bench.home.parents[1].rglob("*") if path.is_file() and bench.home not in path.parents
    ] == []
    assert not list(bench.home.rglob("*.temporary"))
