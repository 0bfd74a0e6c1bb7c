"""The demo dump: the same bytes each time, the layout of the release, and the dirt it says it holds."""

import gzip
import html
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ml.data.files import sha256_of_file
from ml.data.sources import datasets_in, find_source
from ml.data.sources.amazon.dumps import land_metadata, land_reviews
from ml.demo.dump import DATASET, DemoDirt, DemoDump, write_demo_dump


def listed(text: str) -> list[str]:
    return text.split()


REVIEW_KEYS = listed(
    "overall vote verified reviewTime reviewerID asin style reviewerName reviewText summary unixReviewTime image"
)
METADATA_KEYS = listed(
    "category tech1 description fit title also_buy tech2 brand feature rank also_view details main_cat "
    "similar_item date price asin imageURL imageURLHighRes"
)
OLDER_KEYS = listed(
    "category tech1 description fit title also_buy image tech2 brand feature rank also_view details main_cat "
    "similar_item date price asin"
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> DemoDump:
    return write_demo_dump(tmp_path_factory.mktemp("demo"))


def lines_of(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).split(b"\n")[:-1]


def sound_rows(path: Path, identities: tuple[str, ...]) -> list[dict]:
    """Naively: what parses as an object and has its identities, and for reviews a rating and a time."""
    rows = []
    for raw in lines_of(path):
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if not isinstance(row, dict) or "helpful" in row:  # what is nested too deeply stands in that key alone
            continue
        if not all(isinstance(row.get(name), str) and row[name] for name in identities):
            continue
        if "reviewerID" in identities and not (
            type(row.get("overall")) is float
            and 1 <= row["overall"] <= 5
            and type(row.get("unixReviewTime")) is int
            and row["unixReviewTime"] > 0
        ):
            continue
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def reviews(demo) -> list[dict]:
    return sound_rows(demo.reviews, ("reviewerID", "asin"))


@pytest.fixture(scope="module")
def metadata(demo) -> list[dict]:
    return sound_rows(demo.metadata, ("asin",))


def interaction(row: dict) -> tuple:
    return row["reviewerID"], row["asin"], row["unixReviewTime"], row["overall"]


def test_it_is_found_as_a_dataset(demo):
    folder = demo.reviews.parent
    assert sorted(os.listdir(folder)) == ["Demo.json.gz", "meta_Demo.json.gz"]
    assert datasets_in(folder) == [DATASET]
    assert [file.path for file in find_source(folder, DATASET).files] == [demo.reviews, demo.metadata]


def test_equal_arguments_give_equal_bytes(tmp_path):
    script = "import sys; from pathlib import Path; from ml.demo.dump import write_demo_dump; "
    script += "write_demo_dump(Path(sys.argv[1]), users=60, items=50, seed=3)"
    for name in ("one", "other"):
        environment = {**os.environ, "PYTHONHASHSEED": str(len(name))}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name)], env=environment, check=True)
    write_demo_dump(tmp_path / "here", users=60, items=50, seed=3)
    write_demo_dump(tmp_path / "seed", users=60, items=50, seed=4)
    for file in ("Demo.json.gz", "meta_Demo.json.gz"):
        digests = [sha256_of_file(tmp_path / name / file) for name in ("one", "other", "here", "seed")]
        assert digests[0] == digests[1] == digests[2] != digests[3]


def test_rows_have_the_keys_of_the_release(demo, reviews, metadata):
    for row in reviews:
        assert list(row) == [key for key in REVIEW_KEYS if key in row]
        assert {*REVIEW_KEYS} - {*row} <= {"vote", "style", "image"}
        assert row["unixReviewTime"] % 86_400 == 0
        date = datetime.fromtimestamp(row["unixReviewTime"], UTC)
        assert row["reviewTime"] == f"{date.month:02d} {date.day}, {date.year}"
    layouts = Counter(tuple(row) for row in metadata)
    assert set(layouts) == {tuple(METADATA_KEYS), tuple(OLDER_KEYS)}
    assert layouts[tuple(OLDER_KEYS)] == demo.older_images


def test_reviews_hold_the_dirt_they_are_said_to(demo, reviews):
    lines = lines_of(demo.reviews)
    assert len(lines) == demo.review_lines
    assert len(reviews) == demo.reviews_kept
    texts = Counter(json.dumps(row) for row in reviews)
    interactions = Counter(map(interaction, reviews))
    assert len(reviews) - len(texts) == demo.identical_reviews > 0
    assert len(texts) - len(interactions) == demo.reworded_reviews > 0
    assert len(interactions) == demo.interactions
    assert sum(not isinstance(row["verified"], bool) for row in reviews) == demo.mistyped_verified > 0
    assert len({user for user, *_ in interactions}) == demo.users == 3000
    assert len({item for _, item, *_ in interactions}) == demo.items == 800
    pairs = {(user, item) for user, item, *_ in interactions}
    assert len(interactions) - len(pairs) == demo.repeated_interactions > 0
    days = Counter((user, day) for user, _, day, _ in interactions)
    assert sum(count for count in days.values() if count > 1) == demo.tied_interactions > 0
    two_ratings = Counter((user, item, day) for user, item, day, _ in interactions)
    assert sum(count > 1 for count in two_ratings.values()) == round(DemoDirt().second_ratings * demo.interactions)


def test_metadata_holds_the_dirt_it_is_said_to(demo, reviews, metadata):
    assert len(lines_of(demo.metadata)) == demo.metadata_lines
    assert len(metadata) == demo.metadata_kept
    texts = {json.dumps(row) for row in metadata}
    asins = Counter(json.loads(text)["asin"] for text in texts)
    assert len(asins) == demo.metadata_asins
    assert len(metadata) - len(texts) == demo.identical_metadata > 0
    assert sum(count > 1 for count in asins.values()) == demo.conflicting_asins > 0
    assert len(texts) - len(asins) == demo.conflicting_asins

    def price_kind(price: str) -> str:
        if not price:
            return "empty"
        if " - " in price:
            return "range"
        if not price.startswith("$"):
            return "css"
        assert float(price[1:].replace(",", "")) > 0
        return "thousands" if "," in price else "plain"

    assert Counter(price_kind(row["price"]) for row in metadata) == demo.prices
    assert set(demo.prices) == {"plain", "thousands", "empty", "range", "css"}
    titles = [row["title"] for row in metadata if isinstance(row["title"], str)]
    assert sum(title.startswith("<") for title in titles) == demo.html_titles > 0
    assert sum(html.unescape(title) != title for title in titles) == demo.entity_titles > 0
    mistyped = Counter(
        name
        for row in metadata
        for name, kind in (("title", str), ("brand", str), ("category", list))
        if not isinstance(row[name], kind)
    )
    assert mistyped == demo.mistyped_fields
    assert set(mistyped) == {"title", "brand", "category"}
    reviewed = {row["asin"] for row in reviews}
    assert len(reviewed - set(asins)) == demo.reviewed_without_metadata > 0
    assert len(set(asins) - reviewed) == demo.unreviewed_asins > 0


def test_landing_finds_what_was_planted(demo, tmp_path):
    landed = land_reviews([demo.reviews], tmp_path / "reviews")
    assert landed.lines_read == demo.review_lines
    assert landed.rows_kept == demo.reviews_kept
    assert landed.rejects_by_reason == demo.review_rejects
    assert len(demo.review_rejects) == 14
    landed = land_metadata([demo.metadata], tmp_path / "metadata")
    assert landed.lines_read == demo.metadata_lines
    assert landed.rows_kept == demo.metadata_kept
    assert landed.rejects_by_reason == demo.metadata_rejects


@pytest.mark.parametrize("size", [(20, 40), (300, 100), (200, 1500)])
def test_it_holds_for_other_sizes(tmp_path, size):
    demo = write_demo_dump(tmp_path, users=size[0], items=size[1], seed=1)
    assert demo.users == size[0]
    assert demo.items <= size[1]
    landed = land_reviews([demo.reviews], tmp_path / "reviews")
    assert landed.rejects_by_reason == demo.review_rejects
    landed = land_metadata([demo.metadata], tmp_path / "metadata")
    assert landed.rejects_by_reason == demo.metadata_rejects
    texts = {json.dumps(row) for row in sound_rows(demo.metadata, ("asin",))}
    assert len(texts) - demo.metadata_asins == demo.conflicting_asins


def test_it_can_be_clean(tmp_path):
    clean = DemoDirt(**{field.name: 0.0 for field in fields(DemoDirt)})
    demo = write_demo_dump(tmp_path, users=100, items=60, dirt=clean)
    assert demo.review_rejects == demo.metadata_rejects == demo.mistyped_fields == {}
    assert demo.review_lines == demo.interactions
    assert demo.metadata_lines == demo.metadata_asins
    assert demo.prices == {"plain": demo.metadata_lines}
    assert demo.reviewed_without_metadata == demo.html_titles == demo.entity_titles == demo.older_images == 0


def test_too_few_users_or_items(tmp_path):
    with pytest.raises(ValueError, match="at least 20 users and 40 items, not 19 and 40"):
        write_demo_dump(tmp_path, users=19, items=40)
    assert os.listdir(tmp_path) == []


def cored_histories(reviews: list[dict]) -> tuple[list[list[str]], int]:
    """Histories of the 5-core in order of time, and the rounds it took to get there."""
    rows = sorted(set(map(interaction, reviews)), key=lambda row: (row[0], row[2], row[1]))
    rounds = 0
    while True:
        users, items = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
        left = [row for row in rows if users[row[0]] >= 5 and items[row[1]] >= 5]
        if len(left) == len(rows):
            break
        rows, rounds = left, rounds + 1
    histories = defaultdict(list)
    for user, item, *_ in rows:
        histories[user].append(item)
    return list(histories.values()), rounds


def test_the_core_keeps_most_and_takes_rounds_to_reach(demo, reviews):
    histories, rounds = cored_histories(reviews)
    assert rounds >= 2
    assert 0.9 * demo.interactions < sum(map(len, histories)) < demo.interactions
    assert 0.85 * demo.users < len(histories) < demo.users


def test_the_item_before_the_last_tells_more_than_the_last(reviews):
    """A chain on the last item beats popularity, and one on the last but one beats it by far."""
    histories, _ = cored_histories(reviews)
    index = {item: place for place, item in enumerate(sorted({item for h in histories for item in h}))}
    histories = [[index[item] for item in history] for history in histories]
    popularity = np.bincount([item for history in histories for item in history[:-1]], minlength=len(index))
    steps = {1: np.zeros((len(index),) * 2), 2: np.zeros((len(index),) * 2)}
    for history in histories:
        for distance, counts in steps.items():
            np.add.at(counts, (history[: -1 - distance], history[distance:-1]), 1)
    targets = np.array([history[-1] for history in histories])

    def ndcg_at_10(scores: np.ndarray) -> float:
        scores = scores + popularity * 1e-6
        ranks = (scores > scores[np.arange(len(targets)), targets][:, None]).sum(axis=1)
        return float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean())

    most_popular = ndcg_at_10(np.zeros((len(targets), len(index))))
    by_last = ndcg_at_10(steps[1][[history[-2] for history in histories]])
    by_last_but_one = ndcg_at_10(steps[2][[history[-3] for history in histories]])
    assert 0.015 < most_popular < 0.04
    assert 0.1 < by_last < 0.18
    assert by_last_but_one > 1.5 * by_last
