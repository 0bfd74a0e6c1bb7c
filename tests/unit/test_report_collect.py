"""That a report is collected right from what the assets leave."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import report_audits
from hypothesis import given, settings
from hypothesis import strategies as st
from report_contents import write_made_up_lake

from ml.codes.quality import identifier_report
from ml.data.item_text import save_item_text
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.reports.collect.interactions import count_tied_targets
from ml.reports.collect.report import MissingInput, _settings, collect, project_version, run_facts
from ml.reports.content.report import Check, ReportContent
from ml.reports.render.html import render_html
from ml.reports.render.markdown.model_card import model_card
from ml.reports.words import verdict


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    lake = tmp_path_factory.mktemp("lake")
    write_made_up_lake(lake)
    return lake


@pytest.fixture(scope="module")
def collected(lake) -> ReportContent:
    checks = [Check("b", "marts/items", True), Check("a", "marts/items", True)]
    return collect(lake, "Made_Up", checks, {"marts/items": "ab"}, code_version="1.2.3")


def test_collected_leaderboard(collected, lake):
    board = collected.leaderboard
    assert [row.title for row in board.rows] == ["Tower", "Popular"]
    tower = board.rows[0]
    # ranks 3 to 8 and so on: users 0, 1, 2, 3, 4, 5 have targets 3, 4, 5, 4, 7, 8
    ranks = [1, 2, 3, 2, 5, 6]
    assert tower["mrr@10"] == pytest.approx(sum(1 / rank for rank in ranks) / 6)
    assert tower.headline.low < tower.headline.value < tower.headline.high
    assert (tower.trained, tower.note, tower["parameters"]) == (True, "sampled softmax", 1234)
    assert board.reference.title == "Popular"
    assert board.reference.difference is None
    table = pq.read_table(lake / "evaluation" / "leaderboard.parquet").to_pylist()
    assert (tower["finding"], tower["p_value_adjusted"]) == (table[0]["finding"], table[0]["p_value_adjusted"])
    assert (tower["seeds"], tower["seed_deviation"], tower["cut_tied"]) == (1, None, 0.0)
    assert (board.test_users, board.catalogue) == (6, 22)
    assert ("split", "leave-one-out") in board.protocol


def test_collected_audits_slices_and_list_metrics(collected):
    assert collected.audits == (report_audits.ties(), report_audits.duplicates()), "a concern comes first"
    assert set(collected.list_metrics) == {"tower", "popular"}, "of what is compared alone"
    assert collected.list_metrics["tower"] == {"coverage@10": 0.5, "category_diversity@10": None}
    assert [(part.bucket, part.users, part.recommender) for part in collected.slices] == [
        ("2", 4, "popular"),
        ("3", 1, "popular"),
        ("2", 4, "tower"),
        ("3", 1, "tower"),
    ]
    assert len(collected.provenance.training_set) == 64


def test_a_lake_without_audits_has_none_and_without_slices_says_what_to_do(tmp_path):
    write_made_up_lake(tmp_path)
    shutil.rmtree(tmp_path / "audits")
    assert collect(tmp_path, "Made_Up").audits == ()
    (tmp_path / "evaluation" / "slices.parquet").unlink()
    with pytest.raises(MissingInput, match=r"slices\.parquet is missing: materialise"):
        collect(tmp_path, "Made_Up")


def test_collected_funnels_add_up(collected):
    reviews, metadata = collected.funnels
    assert [(step.label, step.rows, step.role) for step in reviews.steps] == [
        ("Rows read", 40, "stage"),
        ("rejected: malformed JSON", 3, "removed"),
        ("rejected: asin missing", 1, "removed"),
        ("Valid reviews", 36, "stage"),
        ("exact duplicates (same user, item, time and rating)", 5, "removed"),
        ("byte-identical lines", 3, "of which"),
        ("Distinct interactions", 31, "stage"),
        ("outside the 2-core", 7, "removed"),
        ("Interactions kept", 24, "stage"),
        ("training", 16, "part"),
        ("validation", 2, "part"),
        ("test", 6, "part"),
    ]
    assert [(step.label, step.rows) for step in metadata.steps if step.role == "stage"] == [
        ("Rows read", 9),
        ("Distinct items", 7),
        ("Items of the catalogue with metadata", 6),
    ]
    assert reviews.unexplained == metadata.unexplained == 0
    assert [(file.name, file.rejected, file.unused, file.kept) for file in collected.provenance.files] == [
        ("Made_Up.json.gz", 4, 7, 24),
        ("meta_Made_Up.json.gz", 0, 1, 6),
    ]


def test_collected_statistics_and_training(collected):
    assert collected.statistics["test_targets_tied"] == 3
    assert collected.statistics["test_targets_repeated"] == 1
    assert collected.history_lengths == ((4, 6),)
    (curve,) = collected.training
    assert (curve.title, curve.epochs, curve.loss) == ("Tower", (1, 2, 3), (3.0, 2.0, 1.5))
    assert (curve.best_epoch, curve.kept_validation) == (2, 0.3)
    (codes,) = collected.codes
    assert (codes.method, codes.books[0].used, codes.unseen_items) == ("truncated SVD, seed 0", 20, 13)


def test_collected_codes_say_what_they_know_of_the_items(lake, tmp_path):
    """By the report that a recipe makes; categories of the item text where the codes were assigned without it."""
    lake = Path(shutil.copytree(lake, tmp_path / "lake"))
    items, levels = TrainingSet.load(lake / "training_sets" / "sequences").items, ("head", "middle", "tail")
    described = json.loads((lake / "codes" / "svd" / "codes.json").read_text())
    values = np.arange(items, dtype=np.uint8)[:, None] % 2
    described["report"] |= identifier_report(values, Sequences.from_lists([[0, 1, 2]]), np.ones((items, 3)))
    described["report"] |= {"before_collisions_were_resolved": {"items_in_collisions": 5}}
    (lake / "codes" / "svd" / "codes.json").write_text(json.dumps(described))
    (codes,) = collect(lake, "Made_Up").codes
    assert (codes.collided_before, codes.without_vector, codes.category) == (5, 0, None)
    (level,) = codes.levels
    assert (level.prefixes, level.mean_children, level.neighbours) == (2, 2.0, 0.0)
    by_popularity = described["report"]["by_popularity"]
    assert level.of_groups == tuple(by_popularity[name]["prefixes"][0] for name in levels)
    np.save(lake / "codes" / "svd" / "codes.npy", values)
    ids = TrainingSet.load(lake / "training_sets" / "sequences").item_ids
    (lake / "training_sets" / "item_text").mkdir()
    texts = [f"Title: a Brand: b Category: {'even' if item % 2 == 0 else 'odd'} Price: $1.00" for item in range(items)]
    save_item_text(lake / "training_sets" / "item_text", ids, texts)
    (codes,) = collect(lake, "Made_Up").codes
    assert codes.category.purity == 1
    assert codes.category.mutual_information == 1


def test_collected_rejects_are_cut_and_readable(collected):
    # the long line is the third of its reason
    assert [(line.line_number, line.line) for line in collected.rejected] == [
        (10, '{"asin": '),
        (11, "\\xff\\x00 not text"),
        (13, "{}"),
    ]


def test_a_long_rejected_line_is_cut(tmp_path):
    from ml.reports.collect.dumps import _rejected

    record = {"source_file": "f", "line_number": 1, "reason": "r", "detail": None, "line": "é".encode() * 100_000}
    line = _rejected(record).line
    assert len(line) == 241
    assert line.endswith("é…")


def test_collected_examples(collected):
    examples = collected.examples
    assert examples.title == "Tower"
    assert [user.user_id for user in examples.users] == ["u0", "u2", "u3", "u5"]
    third = examples.users[2]
    assert [item.item_id for item in third.history] == ["i03", "i04", "i05"]
    assert (third.target.item_id, third.target.in_history, third.target_rank) == ("i04", True, 2)
    assert [(item.item_id, item.title) for item in third.recommended[:2]] == [("i03", "Item 3"), ("i04", None)]
    assert [item.is_target for item in third.recommended] == [False, True, False, False, False]
    assert [item.in_history for item in third.recommended] == [True, True, True, False, False]


@pytest.mark.usefixtures("empty_drawings")
def test_collected_files_say_how_they_were_read_and_warnings_limit_the_numbers(collected):
    reviews, metadata = collected.provenance.files
    assert (reviews.source, reviews.layout) == ("reviews", "table")
    assert reviews.reading == (
        "columns: user = visitor, item = sku",
        "not used: event_time",
        'separator: "\\t"',
        "no times: the order of the lines counts (file 1 of the source)",
    )
    assert metadata.warnings == ()
    warning = "Made_Up.json.gz: no column of times was found; event_time looks like one"
    assert warning in verdict.caveats(collected)
    page, card = render_html(collected), model_card(collected)
    assert page.count("no column of times was found; event_time looks like one") == 2
    for text in (page, card):
        assert "How the files were read" in text
        assert "user = visitor, item = sku" in text.replace("\\", "")


@pytest.mark.usefixtures("empty_drawings")
def test_a_landing_of_an_earlier_version_says_nothing_of_how_it_was_read(tmp_path):
    write_made_up_lake(tmp_path)
    for path in tmp_path.glob("landing/*/files.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.select(["source_file", "bytes", "sha256"]), path)
    found = collect(tmp_path, "Made_Up")
    assert "How the files were read" not in render_html(found) + model_card(found)


def test_collected_provenance_and_run(collected, lake):
    assert collected.provenance.settings == {"k core": "2", "recipes": "the set quick", "seed": "0"}
    assert collected.provenance.code_version == "1.2.3"
    assert collected.provenance.versions["numpy"].count(".") >= 1
    assert [check.name for check in collected.checks] == ["a", "b"]
    run = run_facts(lake, "now", {"popular": 0.1})
    assert run.fit_seconds == {"tower": 7.5, "popular": 0.1}
    assert "core" in run.machine["processor"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("k_core_users", -1, "as k core (5)"),
        ("k_core_items", 3, "3"),
        ("validation_from", "0.8", "0.8 (not used: the split is leave-one-out)"),
        ("audit_model", "", "none"),
        ("from_date", "", "the first"),
        ("recipes", [], "the set quick"),
        ("recipes", ["gsasrec", "sasrec"], "gsasrec, sasrec"),
        ("exclude_seen", False, "no"),
        ("verified_only", True, "yes"),
        ("validation_users", 0, "all"),
        ("min_rating", 0.0, "any"),
        ("seed", 0, "0"),
    ],
)
def test_settings_are_written_in_words(tmp_path, name, value, shown):
    (tmp_path / "settings").mkdir()
    written = {"k_core": 5, "split": "leave-one-out", name: value}
    (tmp_path / "settings" / "dataset.json").write_text(json.dumps(written))
    assert _settings(tmp_path)[name.replace("_", " ")] == shown


def test_recommenders_are_described_with_what_they_were_fitted_with(tmp_path):
    write_made_up_lake(tmp_path)
    recipe = {"source": "A paper", "model": {"architecture": "sasrec", "dimensions": 64}, "codes": "svd"}
    recipe["optimiser"] = {"learning_rate": 0.002, "betas": [0.9, 0.98]}
    config = {"best_epoch": 2, "seed": 7, "recipe": recipe}
    (tmp_path / "models" / "tower" / "config.json").write_text(json.dumps(config))
    tower, popular = collect(tmp_path, "Made_Up").recommenders
    assert tower.text.startswith("A transformer that reads a history")
    assert "shared codes" in tower.text
    assert (tower.source, popular.settings) == ("A paper", {})
    assert tower.settings == {
        "model": "sasrec",
        "model: dimensions": "64",
        "optimiser: learning rate": "0.002",
        "optimiser: betas": "0.9, 0.98",
        "seed": "7",
        "best_epoch": "2",
    }


def test_the_version_of_a_checkout_is_its_commit(tmp_path):
    installed = project_version(tmp_path / "nowhere")
    assert "commit" not in installed
    for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "x", "--allow-empty"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    version = project_version(tmp_path)
    assert re.fullmatch(rf"{re.escape(installed)}, commit [0-9a-f]{{12}}", version)
    # of a package whose environment lies in another repository
    (tmp_path / "site-packages").mkdir()
    assert project_version(tmp_path / "site-packages") == installed


@pytest.mark.usefixtures("empty_drawings")
def test_a_collected_report_is_the_same_each_time(collected, lake):
    again = collect(lake, "Made_Up", reversed(collected.checks), {"marts/items": "ab"}, code_version="1.2.3")
    assert again == collected
    assert render_html(again) == render_html(collected)


def test_a_model_that_is_not_compared_does_not_appear(collected, lake):
    folder = lake / "models" / "left_over"
    folder.mkdir()
    (folder / "training_log.jsonl").write_text('{"fit_on": "train", "epoch": 1, "seconds": 1}\n')
    (lake / "codes" / "left_over").mkdir()
    assert collect(lake, "Made_Up").training == collected.training
    assert collect(lake, "Made_Up").codes == collected.codes


def test_a_lake_without_a_leaderboard_is_told_plainly(tmp_path):
    with pytest.raises(MissingInput, match=r"leaderboard\.parquet is missing: materialise the leaderboard"):
        collect(tmp_path, "X")


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=6), st.randoms())
def test_tied_targets_are_those_that_share_their_time_with_the_one_before(users, random):
    rows, expected = [], 0
    for user, days in enumerate(users):
        days = sorted(days)
        expected += len(days) > 1 and days[-1] == days[-2]
        for position, day in enumerate(days):
            split = "test" if len(days) > 1 and position == len(days) - 1 else "train"
            rows.append({"user_id": f"u{user}", "position": position, "timestamp": day, "split": split})
    assert count_tied_targets(pa.Table.from_pylist(rows)) == expected
    random.shuffle(rows)
    assert count_tied_targets(pa.Table.from_pylist(rows)) == expected
