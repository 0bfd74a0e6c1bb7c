"""Teacher lists: ml/data/teacher_lists.py, ml/teaching and the task teacher_lists."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set
from teaching_toys import DEPTH, RingTeacher, lists_recipe, ring_lists, two_tradeoffs
from training_toys import ITEMS, ring_training_set

from ml.baselines.registry import BASELINES
from ml.beyond_accuracy.goals import GoalUnavailable, first_goal, goal_on
from ml.config import TableError
from ml.data.files import DamagedFile
from ml.data.sequences import Sequences
from ml.data.teacher_lists import ListTable, TeacherLists, file_of, sub_histories
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.recommender import NO_ITEM
from ml.tasks.settings import TeacherListsSettings
from ml.tasks.teacher_lists import TeacherListsTask
from ml.teaching.make_lists import draw_sub_histories, make_teacher_lists
from ml.teaching.recipe import load_teacher_lists_recipes


@pytest.fixture(scope="module")
def ring() -> TrainingSet:
    return ring_training_set(60)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(sum), st.integers(1, 12), st.integers(0, 5))
def test_sub_histories_are_different_starts_of_training_histories(lengths, per_user, seed):
    train = Sequences.from_lists([np.arange(length) for length in lengths])
    users, starts, ends = draw_sub_histories(train, per_user, seed)
    assert (users.dtype, starts.dtype, ends.dtype) == (np.int32, np.int64, np.int64)
    assert (np.diff(users) >= 0).all()
    np.testing.assert_array_equal(starts, train.offsets[users])
    assert (starts < ends).all()
    assert (ends <= train.offsets[users + 1]).all()
    for user, length in enumerate(lengths):
        own = ends[users == user]
        assert len(own) == min(length, per_user)
        assert (np.diff(own) > 0).all()
        # the whole history is one of them
        assert length == 0 or own[-1] == train.offsets[user + 1]
    parts = sub_histories(train, users, starts, ends)
    np.testing.assert_array_equal(parts.lengths, ends - starts)
    assert all(parts[row].tolist() == list(range(len(parts[row]))) for row in range(len(parts)))


def test_every_start_of_a_history_is_drawn_as_often():
    train = Sequences.from_lists([np.arange(10)] * 3000)
    _, starts, ends = draw_sub_histories(train, 4, seed=1)
    shares = np.bincount(ends - starts, minlength=11)[1:] / 3000
    assert shares[-1] == 1
    # three of nine; the deviation of a share is .0086
    np.testing.assert_allclose(shares[:-1], 1 / 3, atol=0.04)


def test_another_seed_draws_others(ring):
    one, other = ring_lists(ring, seed=1), ring_lists(ring, seed=2)
    assert one.digest() == ring_lists(ring, seed=1).digest()
    assert one.digest() != other.digest()


@pytest.mark.parametrize("recipe", [lists_recipe(), two_tradeoffs()])
def test_held_out_targets_decide_nothing(ring, recipe):
    moved = replace(
        ring,
        validation_targets=np.roll(ring.validation_targets, 1),
        test_targets=np.roll(ring.test_targets, 1),
    )
    assert (moved.validation_targets != ring.validation_targets).any()
    lists, again = (
        make_teacher_lists(recipe, {FIT_ON_TRAIN: RingTeacher(ring)}, each, 0, True) for each in (ring, moved)
    )
    assert lists.digest() == again.digest()
    np.testing.assert_array_equal(lists.of(FIT_ON_TRAIN).items, again.of(FIT_ON_TRAIN).items)
    # but how good the teacher is depends on them
    assert lists.teacher_validation_ndcg_at_10 != again.teacher_validation_ndcg_at_10


def test_lists_are_those_of_the_teacher_for_the_start_of_the_history(ring):
    table = ring_lists(ring).of(FIT_ON_TRAIN)
    found = RingTeacher(ring).recommend(table.histories(ring), DEPTH, exclude_seen=True)
    np.testing.assert_array_equal(table.items[:, 0], found.items)
    np.testing.assert_array_equal(table.scores[:, 0], found.scores)
    follower = RingTeacher(ring).follower
    for row in range(len(table)):
        history = table.histories(ring)[row]
        expected = [follower[history[-1]]]
        for _ in range(DEPTH - 1):
            expected.append(follower[expected[-1]])
        assert table.items[row, 0].tolist() == expected


@pytest.mark.parametrize("fit_on", [FIT_ON_TRAIN, FIT_ON_BOTH])
def test_a_teacher_reads_the_times_of_sub_histories(ring, fit_on):
    """The time of an item is a thousand times its index."""
    timed = replace(
        ring,
        train=replace(ring.train, times=1000 * ring.train.items.astype(np.int64)),
        validation_times=1000 * ring.validation_targets.astype(np.int64),
    )
    seen = []

    class TimedTeacher(RingTeacher):
        def recommend(self, histories, k, exclude_seen):
            seen.append(histories)
            return super().recommend(histories, k, exclude_seen)

    teachers = {FIT_ON_TRAIN: RingTeacher(ring)} | {fit_on: TimedTeacher(ring)}
    make_teacher_lists(lists_recipe(), teachers, timed, 0, True)
    assert seen
    for histories in seen:
        np.testing.assert_array_equal(histories.times, 1000 * histories.items.astype(np.int64))


def test_a_tradeoff_lists_the_same_candidates_in_the_order_of_the_goal(ring):
    lists = ring_lists(ring, two_tradeoffs())
    table = lists.of(FIT_ON_TRAIN)
    assert (lists.goal, lists.tradeoffs) == ("popularity", (0.0, 1.0))
    candidates = RingTeacher(ring).recommend(table.histories(ring), 10, exclude_seen=True)
    values = goal_on("popularity", ring).values
    assert values is not None
    for row in range(len(table)):
        own, goal = table.items[row]
        assert own.tolist() == candidates.items[row, :DEPTH].tolist()
        assert set(goal.tolist()) <= set(candidates.items[row].tolist())
        # equal values in the order of the candidates
        order = np.argsort(values[candidates.items[row]], kind="stable")[:DEPTH]
        np.testing.assert_allclose(values[goal], values[candidates.items[row][order]], atol=1e-5)
        place = {item: column for column, item in enumerate(candidates.items[row].tolist())}
        expected = [candidates.scores[row, place[item]] for item in goal.tolist()]
        np.testing.assert_array_equal(table.scores[row, 1], np.array(expected, dtype=np.float32))


def test_lists_of_a_final_fit_are_for_histories_with_the_validation_items(ring):
    lists = ring_lists(ring, fits=(FIT_ON_TRAIN, FIT_ON_BOTH))
    both = ring.to_fit_on(FIT_ON_BOTH)
    histories = lists.of(FIT_ON_BOTH).histories(both)
    whole = [row for row in range(len(histories)) if len(histories[row]) == len(both.train[histories.users[row]])]
    assert len(whole) == ring.users
    with pytest.raises(ValueError, match="made for other training histories than those of ring"):
        lists.of(FIT_ON_BOTH).histories(ring)


def test_a_small_catalogue_has_short_lists_and_a_user_of_everything_none():
    train = Sequences.from_lists([[0, 1], [2], [0, 1, 2, 3], []])
    small = TrainingSet(
        "small", np.array([b"a", b"b", b"c", b"d"]), np.array([b"u", b"v", b"w", b"x"]), train,
        *(np.empty(0, dtype=np.int32) for _ in range(4)),
    )  # fmt: skip
    teacher = BASELINES["most_popular"].create(0).fit(small)
    lists = make_teacher_lists(lists_recipe(histories_per_user=9), {FIT_ON_TRAIN: teacher}, small, 0, True)
    assert lists.teacher_validation_ndcg_at_10 is None
    table = lists.of(FIT_ON_TRAIN)
    histories = table.histories(small)
    assert 3 not in table.users
    assert [len(histories[row]) for row in range(len(table))] == [1, 2, 1, 1, 2, 3]
    listed = (table.items[:, 0] != NO_ITEM).sum(axis=1)
    np.testing.assert_array_equal(listed, [3, 2, 3, 3, 2, 1])
    assert (table.items[:, 0, 3] == NO_ITEM).all()
    assert (table.scores[table.items == NO_ITEM] == -np.inf).all()
    batch = TeacherListsTask(TeacherListsSettings(), 4, table).training_batch(
        histories, np.arange(6), 8, np.random.default_rng(0)
    )
    assert len(batch.targets) == listed.sum()
    np.testing.assert_array_equal(batch.lengths, histories.lengths + listed)


def test_empty_training_histories_are_refused():
    empty = TrainingSet(
        "empty", np.array([b"a"]), np.array([b"u"]), Sequences.empty(1),
        *(np.empty(0, dtype=np.int32) for _ in range(4)),
    )  # fmt: skip
    with pytest.raises(ValueError, match="the training histories of empty are empty"):
        make_teacher_lists(lists_recipe(), {FIT_ON_TRAIN: BASELINES["most_popular"].create(0)}, empty, 0, True)


def test_the_first_goal_that_the_items_allow_is_taken(ring):
    goals = ("category_diversity", "text_diversity", "co_occurrence_diversity", "popularity")
    assert first_goal(goals, ring).goal.name == "co_occurrence_diversity"
    assert first_goal(goals, made_up_training_set()).goal.name == "text_diversity"
    unavailable = lists_recipe(tradeoffs=(0.5,), method="mmr", goals=goals[:2])
    with pytest.raises(GoalUnavailable, match=r"items of ring have no categories.*choose one of co_occurrence"):
        ring_lists(ring, unavailable)


@pytest.mark.parametrize("fits", [(FIT_ON_TRAIN,), (FIT_ON_TRAIN, FIT_ON_BOTH)])
def test_lists_are_the_same_after_saving_and_loading(ring, tmp_path, fits):
    lists = ring_lists(ring, two_tradeoffs(), fits)
    lists.save(tmp_path)
    loaded = TeacherLists.load(tmp_path)
    assert loaded.digest() == lists.digest()
    assert loaded.described() == lists.described()
    np.testing.assert_array_equal(loaded.goal_values, goal_on("popularity", ring).values)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"teacher_lists.json", "goal_values.npy", *map(file_of, fits)}
    schema = pq.read_schema(tmp_path / file_of(FIT_ON_TRAIN))
    assert schema.field("items").type == pa.list_(pa.int32(), DEPTH)
    assert pq.read_metadata(tmp_path / file_of(FIT_ON_TRAIN)).num_rows == 2 * len(lists.of(FIT_ON_TRAIN))


def _without_a_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns("scores"), path)


def _shuffled(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.take(np.arange(len(table))[::-1]), path)


def _with_another_item(path: Path) -> None:
    table = pq.read_table(path)
    items = np.array(table["items"].to_pylist(), dtype=np.int32)
    items[5, 1] += 1
    lists = pa.FixedSizeListArray.from_arrays(pa.array(items.ravel()), DEPTH)
    pq.write_table(table.set_column(4, "items", lists), path)


def _with_a_null(path: Path) -> None:
    table = pq.read_table(path)
    starts = table["start"].to_pylist()
    pq.write_table(table.set_column(1, "start", pa.array([None, *starts[1:]], pa.int64())), path)


def _with_long_items(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(4, "items", table["items"].cast(pa.list_(pa.int64(), DEPTH))), path)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_a_column, "its columns are"),
        (_shuffled, "its trade-offs are not"),
        (_with_another_item, "does not hold the lists that teacher_lists.json describes"),
        (_with_a_null, "there are values missing"),
        (_with_long_items, "items must be lists of int32, not of int64"),
        (_cut_short, "Parquet"),
        (Path.unlink, "lists.parquet"),
    ],
)
def test_damaged_lists_are_refused(ring, tmp_path, damage, message):
    ring_lists(ring, two_tradeoffs()).save(tmp_path)
    damage(tmp_path / file_of(FIT_ON_TRAIN))
    with pytest.raises(DamagedFile, match=f"(?s){tmp_path}.*{message}.*make it again"):
        TeacherLists.load(tmp_path)


@pytest.mark.parametrize("values", [None, np.zeros(ITEMS, np.float32)])
def test_another_goal_than_that_of_the_lists_is_refused(ring, tmp_path, values):
    ring_lists(ring, two_tradeoffs()).save(tmp_path)
    path = tmp_path / "goal_values.npy"
    if values is None:
        path.unlink()
    else:
        np.save(path, values)
    with pytest.raises(DamagedFile, match=r"the files of the goal are not those that teacher_lists\.json describes"):
        TeacherLists.load(tmp_path)


def test_lists_of_another_format_are_refused(ring, tmp_path):
    ring_lists(ring).save(tmp_path)
    path = tmp_path / "teacher_lists.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "raw2rank-teacher-lists-0"}))
    with pytest.raises(DamagedFile, match="it holds raw2rank-teacher-lists-0, this version reads"):
        TeacherLists.load(tmp_path)


def test_lists_of_another_training_set_are_refused(ring):
    table = ring_lists(ring).of(FIT_ON_TRAIN)
    with pytest.raises(ValueError, match="made for other training histories than those of ring: make them again"):
        table.histories(ring_training_set(60, seed=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": np.array([1, 0], np.int32)}, "order of their users"),
        ({"ends": np.array([0, 3])}, "without an item"),
        ({"starts": np.array([0])}, "differ in their number of rows"),
        ({"tradeoffs": (0.0, 1.0)}, "2 tradeoffs, items of shape"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    lists = np.zeros((2, 1, 3))
    values = {
        "users": np.array([0, 1], np.int32), "starts": np.array([0, 2]), "ends": np.array([2, 3]), "tradeoffs": (0.0,),
        "items": lists.astype(np.int32), "scores": lists.astype(np.float32), "histories_digest": "",
    }  # fmt: skip
    ListTable(**values)
    with pytest.raises(ValueError, match=message):
        ListTable(**values | change)


def test_an_epoch_has_one_sub_history_of_each_user_and_all_in_turn(ring):
    table = ring_lists(ring).of(FIT_ON_TRAIN)
    generator = np.random.default_rng(0)
    drawn = np.stack([table.rows_of_epoch(generator) for _ in range(300)])
    for rows in drawn[:3]:
        np.testing.assert_array_equal(table.users[rows], np.unique(table.users))
    # each of three comes in a hundred of three hundred epochs, give or take
    counts = np.bincount(drawn.ravel(), minlength=len(table))
    assert counts.min() > 60
    assert counts.max() < 140


def test_a_batch_shows_the_history_a_mark_and_the_list():
    sequences = Sequences(np.array([5, 6, 7, 8, 9], np.int32), np.array([0, 3, 5]), np.array([4, 2], np.int32))
    items = np.array([[[1, 2, 3], [2, 1, 0]], [[4, 3, 2], [3, 4, NO_ITEM]]], np.int32)
    table = ListTable(
        np.array([2, 4], np.int32), np.array([0, 3]), np.array([3, 5]), (0.0, 0.5), items, items.astype(np.float32), "",
    )  # fmt: skip
    task = TeacherListsTask(TeacherListsSettings(), ITEMS, table)
    found = set()
    for seed in range(20):
        batch = task.training_batch(sequences, np.array([0, 1]), 2, np.random.default_rng(seed))
        assert batch.users.tolist() == [4, 2]
        shown = batch.items.tolist()
        predicted = np.split(batch.targets.items.numpy(), [3])
        for row, (history, targets) in enumerate(zip(([6, 7], [8, 9]), predicted, strict=True)):
            level = shown[row][2] - ITEMS
            found.add((row, level))
            expected = [item for item in items[row, level].tolist() if item != NO_ITEM]
            assert targets.tolist() == expected
            length = int(batch.lengths[row])
            assert shown[row][:length] == [*history, ITEMS + level, *expected[:-1]]
            own = batch.positions[batch.positions // len(shown[0]) == row] % len(shown[0])
            assert own.tolist() == [2, 3, 4][: len(expected)]
    assert found == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_every_start_of_a_history_predicts_the_first_item_of_its_list(ring):
    table = ring_lists(ring).of(FIT_ON_TRAIN)
    histories = table.histories(ring)
    task = TeacherListsTask(TeacherListsSettings(every_start=True), ITEMS, table)
    # the first item, by the places of the sub-history
    first = dict(
        zip(zip(table.starts.tolist(), table.ends.tolist(), strict=True), table.items[:, 0, 0].tolist(), strict=True)
    )
    rows, max_length = np.arange(len(table)), 4
    batch = task.training_batch(histories, rows, max_length, np.random.default_rng(0))
    width = batch.items.shape[1]
    places = zip(*np.divmod(batch.positions.numpy(), width), strict=True)
    found = dict(zip(places, batch.targets.items.tolist(), strict=True))
    expected = {}
    for row in rows:
        start, end = int(table.starts[row]), int(table.ends[row])
        shown = min(end - start, max_length)
        for place in range(shown):
            there = (start, end - shown + place + 1)
            if there in first:
                expected[row, place] = first[there]
        level = int(batch.items[row, shown]) - ITEMS
        expected |= {(row, shown + place): item for place, item in enumerate(table.items[row, level].tolist())}
    assert found == expected
    # some starts are not in the table
    assert len(found) < batch.inputs


@given(
    later=st.sampled_from([0.0, 0.5, 0.9]),
    foreign=st.sampled_from([0.0, 0.3, 0.9]),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_the_first_item_of_the_list_that_was_not_read_is_predicted(later, foreign, lengths, seed):
    random = np.random.default_rng(seed)
    lists = np.full((len(lengths), 5), NO_ITEM, dtype=np.int32)
    for row, length in enumerate(lengths):
        lists[row, :length] = random.permutation(ITEMS)[:length]
    count = np.arange(len(lengths))
    table = ListTable(
        count.astype(np.int32), count, count + 1, (0.0,), lists[:, None], lists[:, None].astype(np.float32), "",
    )  # fmt: skip
    histories = Sequences(np.zeros(len(count), np.int32), np.arange(len(count) + 1), count.astype(np.int32))
    task = TeacherListsTask(TeacherListsSettings(later_items=later, foreign_items=foreign), ITEMS, table)
    batch = task.training_batch(histories, count, 3, random)
    row_of_each = batch.positions.numpy() // batch.items.shape[1]
    for row in count:
        predicted = batch.targets.items.numpy()[row_of_each == row]
        read = batch.items[row, 2 : int(batch.lengths[row])].tolist()
        assert len(read) == len(predicted) - 1
        assert len(set(read)) == len(read)
        own = lists[row, : lengths[row]].tolist()
        for place, item in enumerate(predicted.tolist()):
            assert item == next(each for each in own if each not in read[:place])
        if not foreign:
            assert set(read) < set(own)
            assert len(predicted) == len(own)


def test_lists_are_read_as_the_teacher_wrote_them_unless_said_otherwise():
    lists = np.array([[1, 2, 3], [4, 5, 6]])
    for later, foreign in ((0.0, 0.0), (0.9, 0.0), (0.0, 0.9)):
        task = TeacherListsTask(TeacherListsSettings(later_items=later, foreign_items=foreign), ITEMS)
        pairs = [task._read_and_predicted(lists, np.random.default_rng(seed)) for seed in range(20)]
        own = np.array([(read == lists).all() for read, _ in pairs])
        assert own.all() if later == foreign == 0 else not own.all()
        assert any((read[1] < 4).any() for read, _ in pairs) == (foreign > 0)


@pytest.mark.parametrize("setting", ["later_items", "foreign_items"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_probabilities_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be at least 0 and below 1, not {value}"):
        TeacherListsSettings(**{setting: value})


def test_a_task_without_lists_trains_nothing(ring):
    with pytest.raises(ValueError, match="no lists to train on"):
        TeacherListsTask(TeacherListsSettings(), ITEMS).training_batch(
            ring.train, np.array([0]), 8, np.random.default_rng(0)
        )


_LISTS = {
    "title": '"Lists"', "source": '"none"', "notes": '""', "teacher": '"most_popular"', "histories_per_user": "2",
}  # fmt: skip


def _write(folder: Path, **changed: str) -> Path:
    path = folder / "some.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in (_LISTS | changed).items()), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tradeoffs": "[0.0, 1.5]"}, r"tradeoff must be from 0 \(accuracy alone\) to 1 \(the goal alone\), not 1.5"),
        ({"tradeoffs": "[-0.1]"}, "tradeoff must be from 0 .* not -0.1"),
        ({"tradeoffs": "[0.5, 0.0]"}, "different numbers, ascending"),
        ({"tradeoffs": "[]"}, "one or more different numbers"),
        ({"tradeoffs": "[0.0, 0.5]"}, "need a method and goals"),
        ({"method": '"mmr"'}, "nothing to re-rank: remove method and goals"),
        ({"tradeoffs": "[0.5]", "method": '"best"', "goals": '["popularity"]'}, 'method must be .*"mmr"'),
        (
            {"tradeoffs": "[0.5]", "method": '"mmr"', "goals": '["popularty"]'},
            r"there is no goal popularty \(did you mean popularity\?\)",
        ),
        (
            {"tradeoffs": "[0.5]", "method": '"mmr"', "goals": '["popularity"]'},
            "the method mmr cannot serve the goal popularity; it can serve",
        ),
        ({"depth": "0"}, r"depth \(0\) and histories_per_user \(2\) must be at least 1"),
        ({"candidates": "5"}, r"candidates \(5\) must be at least depth \(10\)"),
        ({"histories": "5"}, "unknown key histories; known are"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused_with_its_file(tmp_path, changed, message):
    path = _write(tmp_path, **changed)
    with pytest.raises(TableError, match=f"{path}: .*{message}"):
        load_teacher_lists_recipes(tmp_path)


def test_prose_does_not_change_the_digest_of_a_recipe(tmp_path):
    _write(tmp_path)
    recipe = load_teacher_lists_recipes(tmp_path)["some"]
    _write(tmp_path, title='"Other"', notes='"Other"')
    assert load_teacher_lists_recipes(tmp_path)["some"].digest() == recipe.digest()
    _write(tmp_path, histories_per_user="3")
    assert load_teacher_lists_recipes(tmp_path)["some"].digest() != recipe.digest()
    assert load_teacher_lists_recipes(tmp_path / "nothing") == {}
