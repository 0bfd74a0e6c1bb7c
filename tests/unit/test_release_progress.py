"""What is new in a dump is the test of the release before it, counted once."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.baselines.registry import BASELINES
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommenders.registry import library_registry
from ml.release.bundle import Bundle, load
from ml.release.progress import ProgressError, Result, advance, read_series
from ml.release.write_bundle import write_bundle

ITEMS = "abcdefghijkl"


def mart(path: Path, histories: dict[str, str]) -> Path:
    """The mart of interactions: of each user a text with a letter an item, a day apart."""
    rows = [
        {"user_id": user, "item_id": item, "timestamp": 86_400 * position, "position": position}
        for user, items in histories.items()
        for position, item in enumerate(items)
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "position"]).astype(
        {"timestamp": "int64", "position": "int32"}
    ).to_parquet(path)
    return path


def release_of(folder: Path, name: str, histories: list[str], exclude_seen: bool = False) -> Bundle:
    import numpy as np

    training_set = TrainingSet(
        dataset="Toys",
        item_ids=np.array([item.encode() for item in ITEMS]),
        user_ids=np.array([f"u{n}".encode() for n in range(len(histories))]),
        train=Sequences.from_lists([[ITEMS.index(item) for item in history] for history in histories]),
        validation_users=np.empty(0, dtype=np.int32),
        validation_targets=np.empty(0, dtype=np.int32),
        test_users=np.empty(0, dtype=np.int32),
        test_targets=np.empty(0, dtype=np.int32),
    )
    fitted, bundle = folder / "fitted" / name, folder / "bundle"
    fitted.mkdir(parents=True)
    bundle.mkdir()
    BASELINES[name].create(0).fit(training_set).save(fitted)
    described = {"exclude_seen": exclude_seen}
    write_bundle(bundle, name, lambda part: folder / "fitted" / part, library_registry(), training_set, None, described)
    return load(bundle)


@pytest.fixture
def step(tmp_path: Path):
    """Advance a series by the present state of the mart."""
    calls = iter(range(100))

    def advanced(histories: dict[str, str], release: Bundle | None) -> Result | None:
        number = next(calls)
        after = tmp_path / f"after-{number}"
        after.mkdir()
        before = tmp_path / f"after-{number - 1}"
        result = advance(mart(tmp_path / "mart.parquet", histories), before, release, "digest", after)
        advanced.folder = after
        return result

    return advanced


@pytest.fixture
def markov(tmp_path: Path) -> Bundle:
    """Recommends what followed the last item: b after a, c after b; a is the most popular."""
    return release_of(tmp_path, "markov_chain", ["ab", "ab", "abc", "ad"])


def test_the_first_new_interaction_of_each_known_user_is_ranked(step, markov: Bundle) -> None:
    before = {"one": "a", "two": "ab", "three": "ca", "four": "ab"}
    assert step(before, markov) is None, "nothing was known"
    after = {**before, "one": "abl", "two": "abz", "three": "caa", "new": "ab"}
    found = step(after, markov)
    assert found is not None
    assert (found.interactions, found.users, found.new_users, found.lost, found.late) == (6, 3, 1, 0, 0)
    assert found.new_items == 1, "z is in no training history, and a miss"
    # l and a are ranked somewhere among twelve items, z nowhere
    assert found.recall <= 2 / 3
    assert found.popular_ndcg is not None
    assert found.title == "First-order Markov chain"
    assert read_series(step.folder) == [found]


def test_new_interactions_are_used_once(step, markov: Bundle) -> None:
    step({"one": "a"}, markov)
    first = step({"one": "ab"}, markov)
    assert first.ndcg == 1
    assert step({"one": "ab"}, markov) is None, "nothing is new"
    second = step({"one": "abc"}, markov)
    assert second.users == 1
    assert read_series(step.folder) == [first, second]


def test_without_a_release_interactions_are_known_and_not_measured(step, markov: Bundle) -> None:
    step({"one": "a"}, None)
    assert step({"one": "ab"}, None) is None
    assert step({"one": "ab"}, markov) is None


def test_what_arrives_late_is_counted_and_not_ranked(step, markov: Bundle) -> None:
    step({"one": "ab"}, markov)
    with_times = step({"one": "xab", "two": "a"}, markov)
    # all three have another time than what was known, as if they were all new
    assert with_times.lost == 2
    assert with_times.users == 0
    assert with_times.ndcg is None


def test_late_interactions_stand_before_known_ones(tmp_path: Path, markov: Bundle) -> None:
    rows = {"user_id": ["one"] * 2, "item_id": ["a", "b"], "timestamp": [100, 200], "position": [0, 1]}
    pd.DataFrame(rows).to_parquet(tmp_path / "mart.parquet")
    (tmp_path / "first").mkdir()
    advance(tmp_path / "mart.parquet", tmp_path / "none", markov, "digest", tmp_path / "first")
    rows = {
        "user_id": ["one"] * 4,
        "item_id": ["a", "d", "b", "c"],
        "timestamp": [100, 150, 200, 300],
        "position": [0, 1, 2, 3],
    }
    pd.DataFrame(rows).to_parquet(tmp_path / "mart.parquet")
    (tmp_path / "second").mkdir()
    found = advance(tmp_path / "mart.parquet", tmp_path / "first", markov, "digest", tmp_path / "second")
    assert (found.interactions, found.late, found.users) == (2, 1, 1)
    assert found.ndcg == 1, "c after b, which was known"


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_popularity_is_ranked_as_the_baseline_ranks_it(tmp_path: Path, step, exclude_seen: bool) -> None:
    """The release of the most popular items is as good as itself."""
    # each item is in one history more than the next
    popular = release_of(tmp_path, "most_popular", [ITEMS[:length] for length in range(1, 13)], exclude_seen)
    before = {f"user {n}": ITEMS[n % 5] for n in range(12)}
    step(before, popular)
    found = step({user: items + ITEMS[(3 * n) % 12] for n, (user, items) in enumerate(before.items())}, popular)
    assert found.users == 12
    assert found.ndcg > 0
    assert found.popular_ndcg == pytest.approx(found.ndcg)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "series.json").write_text("{")
    with pytest.raises(ProgressError, match=r"series\.json cannot be read"):
        read_series(tmp_path)
    (tmp_path / "series.json").write_text('{"format": "raw2rank-progress-1", "series": [1]}')
    with pytest.raises(ProgressError, match=r"series\.json cannot be read .*begin anew"):
        read_series(tmp_path)
    (tmp_path / "series.json").write_text('{"format": "another"}')
    with pytest.raises(ProgressError, match="another version"):
        read_series(tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["u", "v", "w"]), st.text(ITEMS, max_size=2)), min_size=1, max_size=4))
def test_every_interaction_that_is_appended_is_new_once(tmp_path_factory: pytest.TempPathFactory, additions) -> None:
    folder = tmp_path_factory.mktemp("series")
    release = release_of(folder, "most_popular", ["abc"])
    now: dict[str, str] = {"u": "a"}
    new = 0
    for number, addition in enumerate([{}, *additions]):
        for user, items in addition.items():
            now[user] = now.get(user, "") + items
            new += len(items)
        after = folder / f"{number}"
        after.mkdir()
        advance(mart(folder / "mart.parquet", now), folder / f"{number - 1}", release, "digest", after)
    series = read_series(after)
    assert sum(one.interactions for one in series) == new
    assert all(one.ndcg is None or math.isfinite(one.ndcg) for one in series)
