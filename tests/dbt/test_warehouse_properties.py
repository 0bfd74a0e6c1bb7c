"""What holds for any dump and any settings: compiled SQL against plain Python, on datasets made at random."""

from __future__ import annotations

import html
import random
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from costs import others_slow
from warehouse_dbt import CompiledProject, empty_warehouse, run_dbt_here, table_rows
from warehouse_landing import DAY, Landing, description, dirty_landing, divided_landing, ordered_landing, placed, review
from warehouse_reference import Settings, counted_on, interaction_of, k_core, place, reference_marts

MARTS = ("interactions", "splits", "users", "items", "statistics", "reconciliation")
# data tests of the splits
TARGETS, SAMPLE = "assert_targets_are_where_the_split_puts_them", "assert_validation_sample_has_its_size"
PLACES = ("source_file", "file_position", "line_number")
CLEANED = Settings(
    from_date="1970-01-03",
    until_date="1970-01-06",
    verified_only=True,
    min_rating=4,
    first_interaction_only=True,
    min_history=2,
    k_core=0,
    tie_order="file",
    seed=1,
    validation_users=4,
)
ALL_SETTINGS = {
    "hash": Settings(k_core=2, tie_order="hash", seed=0, validation_users=3),
    "item": Settings(
        k_core=3, k_core_users=1, tie_order="item", seed=5, validation_users=0, first_interaction_only=True
    ),
    "shuffle": Settings(k_core=2, k_core_items=0, tie_order="shuffle", seed=7, validation_users=3),
    "file": CLEANED,
    "global-temporal": Settings(
        k_core=0, split="global-temporal", seed=3, validation_users=5, validation_from="0.41", test_from="0.7"
    ),
    "global-temporal-dates": Settings(
        k_core=2,
        split="global-temporal",
        validation_users=0,
        validation_from="1970-01-03",
        test_from="1970-01-05",
        min_history=3,
        min_rating=0.5,
    ),
    "cold-items": Settings(k_core=0, split="cold-items", seed=3, validation_users=4, cold_items=0.3),
    "leave-last-k": Settings(
        k_core=2, split="leave-last-k", last_items=3, tie_order="item", seed=4, validation_users=5
    ),
    "cold-items-all": Settings(k_core=2, split="cold-items", seed=1, validation_users=0, cold_items=0.15),
}
# one of each split, with cleaning and without; the slow tests have the others
EVERY_SPLIT = ("hash", "file", "global-temporal-dates", "cold-items", "leave-last-k")


def assert_marts_are_expected(compiled: CompiledProject, landing: Landing, settings: Settings) -> None:
    expected = reference_marts(landing, settings)
    with compiled.build(landing, settings) as connection:
        for mart in MARTS:
            rows = table_rows(connection, f"marts.{mart}")
            assert len(rows) == len(expected[mart]), mart
            for row, expected_row in zip(rows, expected[mart], strict=True):
                assert row == pytest.approx(expected_row), mart


@pytest.mark.parametrize("settings", others_slow(ALL_SETTINGS, *EVERY_SPLIT))
def test_marts_are_what_plain_python_makes_of_the_dump(compiled: CompiledProject, settings: Settings) -> None:
    for seed in (0, 2):
        assert_marts_are_expected(compiled, dirty_landing(seed, users=10 + 9 * seed, reviews=60 + 150 * seed), settings)
    assert_marts_are_expected(compiled, divided_landing(seed=8), settings)
    if settings.split.startswith("leave-"):
        assert_marts_are_expected(compiled, ordered_landing(seed=9), settings)


def test_labels_of_every_kind_come_about(compiled: CompiledProject) -> None:
    landing = dirty_landing(seed=2, users=90, reviews=200)
    with compiled.build(landing, replace(ALL_SETTINGS["global-temporal"], validation_users=0)) as connection:
        splits, users = table_rows(connection, "marts.splits"), table_rows(connection, "marts.users")
    assert {row["split"] for row in splits} == {"train", "history", "validation", "test", "unused"}
    assert {row["role"] for row in users} == {"validation and test", "validation", "test", "training only", "not used"}


def assert_other_labels_are_found(
    compiled: CompiledProject,
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    changes: Iterable[tuple[str, str, set[str]]],
    among: str = "true",
) -> None:
    """Label the splits otherwise, and expect data tests to fail.

    Args:
        changes: the wrong label, the right one that it takes the place of, and the data tests that find it.
        among: the interactions that are labelled otherwise, in SQL.
    """
    connection.execute("create table good as from warehouse.marts.splits")
    for wrong, right, found in changes:
        connection.execute(
            f"create or replace table warehouse.marts.splits as "
            f"select * replace (if(split = '{right}' and {among}, '{wrong}', split) as split) from good"
        )
        failing = compiled.failing_data_tests(connection, settings)
        assert failing & {TARGETS, SAMPLE} >= found, (right, wrong)


def test_data_tests_of_global_temporal_find_targets_out_of_place(compiled: CompiledProject) -> None:
    settings = ALL_SETTINGS["global-temporal"]
    with compiled.build(divided_landing(seed=8), settings) as connection:
        assert compiled.failing_data_tests(connection, settings) == set()
        assert_other_labels_are_found(
            compiled,
            connection,
            settings,
            (
                ("unused", "test", {TARGETS}),
                ("test", "unused", {TARGETS}),
                ("train", "history", {TARGETS}),
                ("history", "train", {TARGETS}),
                ("history", "validation", {SAMPLE}),
            ),
            among="user_id >= 'A06'",
        )


def test_data_tests_of_cold_items_find_targets_out_of_place(compiled: CompiledProject) -> None:
    settings = ALL_SETTINGS["cold-items"]
    with compiled.build(dirty_landing(seed=2, users=90, reviews=200), settings) as connection:
        assert compiled.failing_data_tests(connection, settings) == set()
        trained = connection.execute(
            "select count(*) from warehouse.marts.splits join warehouse.intermediate.int_cold_items using (item_id) "
            "where split = 'train'"
        ).fetchone()
        assert trained == (0,)
        assert_other_labels_are_found(
            compiled,
            connection,
            settings,
            (
                ("train", "test", {TARGETS}),
                ("unused", "test", {TARGETS}),
                ("train", "unused", {TARGETS}),
                ("unused", "validation", {SAMPLE}),
            ),
        )


LANDINGS = {
    "dirty": dirty_landing(seed=2, users=30, reviews=200),
    "divided": divided_landing(seed=8),
    "ordered": ordered_landing(seed=9),
}


@pytest.mark.parametrize("landing", others_slow(LANDINGS, "divided", "ordered"))
def test_leaving_the_last_one_out_is_leave_one_out(compiled: CompiledProject, landing: Landing) -> None:
    settings = replace(ALL_SETTINGS["hash"], validation_users=4)
    found = []
    for chosen in (settings, replace(settings, split="leave-last-k", last_items=1)):
        with compiled.build(landing, chosen) as connection:
            found.append(connection.execute("select * from warehouse.marts.splits").to_arrow_table())
    assert found[0].equals(found[1])
    assert set(found[0]["split"].to_pylist()) >= {"train", "test"}


def test_the_marts_of_temporal_folds_are_those_of_their_last_fold(compiled: CompiledProject) -> None:
    settings = replace(ALL_SETTINGS["global-temporal"], k_core=2)
    landing = dirty_landing(seed=2, users=30, reviews=200)
    marts = ("interactions", "users", "items", "splits", "statistics")
    found = []
    for chosen in (settings, replace(settings, split="temporal-folds")):
        with compiled.build(landing, chosen) as connection:
            read = (connection.execute(f"select * from warehouse.marts.{mart}") for mart in marts)
            found.append([table.to_arrow_table() for table in read])
            assert compiled.failing_data_tests(connection, chosen) == set()
    assert all(one.equals(other) for one, other in zip(*found, strict=True))
    assert set(found[0][3]["split"].to_pylist()) >= {"train", "validation", "test"}


def test_data_tests_of_leave_last_k_find_targets_out_of_place(compiled: CompiledProject) -> None:
    settings = replace(ALL_SETTINGS["leave-last-k"], last_items=2)
    with compiled.build(dirty_landing(seed=2, users=90, reviews=400), settings) as connection:
        assert compiled.failing_data_tests(connection, settings) == set()
        several = "select max(count(*)) over () from warehouse.marts.splits where split = 'test' group by user_id"
        assert connection.execute(several).fetchone() == (2,)
        assert_other_labels_are_found(
            compiled,
            connection,
            settings,
            (
                ("train", "test", {TARGETS}),
                ("validation", "test", {TARGETS, SAMPLE}),
                ("test", "validation", {TARGETS, SAMPLE}),
                ("train", "validation", {SAMPLE}),
            ),
        )


def test_data_tests_hold_for_an_order_without_times(compiled: CompiledProject) -> None:
    settings = ALL_SETTINGS["hash"]
    with compiled.build(ordered_landing(seed=9), settings) as connection:
        assert compiled.failing_data_tests(connection, settings) == set()


def test_global_temporal_without_times_is_refused(compiled: CompiledProject) -> None:
    message = "split global-temporal needs the time of every interaction, and [0-9]+ of [0-9]+ have none"
    with pytest.raises(duckdb.Error, match=message):
        compiled.build(ordered_landing(seed=9), ALL_SETTINGS["global-temporal"])


@pytest.mark.parametrize("settings", others_slow(ALL_SETTINGS, "file", "leave-last-k"))
def test_order_of_files_and_lines_matters_under_the_rule_file_alone(
    compiled: CompiledProject, settings: Settings
) -> None:
    landing = divided_landing(seed=20)
    families = [(landing, landing.shuffled(1), landing.shuffled(2))]
    if settings.split.startswith("leave-"):
        # where the order of the source counts, a row keeps its place in it, and may come at any time
        ordered = ordered_landing(seed=20)
        rows = ordered.reviews
        families.append(
            (ordered, *(replace(ordered, reviews=random.Random(n).sample(rows, len(rows))) for n in (1, 2)))
        )
    differ = set()
    for family in families:
        contents = []
        for variant in family:
            with compiled.build(variant, settings) as connection:
                contents.append({mart: table_rows(connection, f"marts.{mart}", leave_out=PLACES) for mart in MARTS})
        # what is counted per file is another count in other files
        unlike_first = [{mart for mart in MARTS[:-1] if other[mart] != contents[0][mart]} for other in contents]
        differ |= set().union(*unlike_first)
    assert differ == set() or settings.tie_order == "file"
    assert settings.tie_order != "file" or "interactions" in differ


def test_files_count_in_the_order_of_the_source_and_not_by_name(compiled: CompiledProject) -> None:
    settings = Settings(k_core=0, tie_order="file", validation_users=0)
    lines = {
        "orders_10.csv": [review("A", "B4", DAY), review("A", "B1", DAY)],
        "orders_2.csv": [review("A", "B3", DAY), review("A", "B1", DAY), review("A", "B2", DAY)],
    }
    rows = [
        line | {"source_file": name, "line_number": number}
        for name, content in lines.items()
        for number, line in enumerate(content, 1)
    ]
    found = {}
    for order in (("orders_2.csv", "orders_10.csv"), ("orders_10.csv", "orders_2.csv")):
        with compiled.build(Landing(reviews=rows, order=order), settings) as connection:
            found[order[0]] = [
                (row["item_id"], row["source_file"], row["line_number"])
                for row in table_rows(connection, "marts.interactions")
            ]
            assert compiled.failing_data_tests(connection, settings) == set()
    # the repeated B1 is that of the first file
    ten, two = "orders_10.csv", "orders_2.csv"
    assert found[two] == [("B3", two, 1), ("B1", two, 2), ("B2", two, 3), ("B4", ten, 1)]
    assert found[ten] == [("B4", ten, 1), ("B1", ten, 2), ("B3", two, 1), ("B2", two, 3)]


@pytest.mark.parametrize("settings", others_slow(ALL_SETTINGS, "file", "item", "global-temporal-dates"))
def test_kept_places_point_at_the_line_of_the_interaction(compiled: CompiledProject, settings: Settings) -> None:
    landing = divided_landing(seed=21)
    lines = {place(line): line for line in counted_on(landing).reviews}
    with compiled.build(landing, settings) as connection:
        rows = table_rows(connection, "marts.interactions")
    assert rows
    for row in rows:
        assert interaction_of(lines[place(row)]) == interaction_of(row)


def test_seeds_give_samples_and_shuffles_of_their_own(compiled: CompiledProject) -> None:
    landing = dirty_landing(seed=22, users=20, reviews=200)
    orders, samples = [], []
    for settings in (ALL_SETTINGS["shuffle"], replace(ALL_SETTINGS["shuffle"], seed=8)):
        with compiled.build(landing, settings) as connection:
            splits = table_rows(connection, "marts.splits")
        orders.append([row["item_id"] for row in splits])
        samples.append({row["user_id"] for row in splits if row["split"] == "validation"})
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert [len(sample) for sample in samples] == [3, 3]
    assert samples[0] != samples[1]


def multigraphs(users_need: int, items_need: int) -> list[tuple[str, str, int, str | None]]:
    """Graphs in one table that share no node, so that the core of all is made of the core of each.

    Many at random; a chain, of which each round takes one link from either end; a knot that stays, and a hub that
    hangs on it and loses all its other users in one round, when they have lost the rest of their items.
    """
    generator = random.Random(users_need * 10 + items_need)
    edges = []
    for graph in range(400):
        width = generator.randrange(1, 9)
        for time in range(generator.randrange(60)):
            user, item = generator.randrange(width), generator.randrange(generator.randrange(1, 9))
            edges.append((f"A{graph}-{user}", f"B{graph}-{item}", time, generator.choice([None] * 19 + ["train"])))
    k = max(users_need, items_need, 2)
    chain = [(f"A{n + step}", f"B{n}", time) for n in range(40) for step in (0, 1) for time in range(k - 1)]
    knot = [(f"A{100 + user}", f"B{100 + item}", 0) for user in range(k) for item in range(k)]
    hub = [("A100", "B200", 0)]
    for user in range(200, 212):
        hub += [(f"A{user}", "B200", 0), *((f"A{user}", f"B{user}-{item}", 0) for item in range(k - 1))]
    return edges + [(*edge, None) for edge in chain + knot + hub]


def core_by_hand(edges: list[tuple], users_need: int, items_need: int) -> list[tuple]:
    own = [edge for edge in edges if edge[3] is None]
    return sorted((*k_core(own, users_need, items_need), *(edge for edge in edges if edge[3])), key=str)


def table_of_edges(connection: duckdb.DuckDBPyConnection, name: str, edges: list[tuple]) -> None:
    columns = dict(zip(("user_id", "item_id", "timestamp", "given_split"), zip(*edges, strict=True), strict=True))
    connection.register("edges_made_up", pa.table(columns))
    connection.execute(f"create table {name} as from edges_made_up")
    connection.unregister("edges_made_up")


@pytest.mark.parametrize(
    ("users_need", "items_need"),
    [(3, 2), *(pytest.param(*few, marks=pytest.mark.slow) for few in [(0, 3), (4, 0), (2, 2), (3, 3), (1, 4)])],
)
def test_k_core_is_what_peeling_by_hand_leaves(compiled: CompiledProject, users_need: int, items_need: int) -> None:
    settings = Settings(k_core_users=users_need, k_core_items=items_need)
    code = compiled.models(settings)
    edges = multigraphs(users_need, items_need)
    with empty_warehouse() as connection:
        table_of_edges(connection, "warehouse.intermediate.int_interactions_selected", edges)
        nodes = "intermediate.int_core_nodes"
        connection.execute(f"create table warehouse.{nodes} as {code[nodes]}")
        left = connection.execute(code["intermediate.int_interactions_core"])
        assert sorted(left.fetchall(), key=str) == core_by_hand(edges, users_need, items_need)


CORE = ["run", "--select", "int_core_nodes", "int_interactions_core"]


@pytest.mark.parametrize(("users_need", "items_need"), [(2, 4), pytest.param(0, 3, marks=pytest.mark.slow)])
def test_k_core_on_disk_is_the_same(tmp_path: Path, users_need: int, items_need: int) -> None:
    edges = multigraphs(users_need, items_need)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("create schema intermediate")
        table_of_edges(connection, "intermediate.int_interactions_selected", edges)
    settings = Settings(k_core_users=users_need, k_core_items=items_need, k_core_rows_in_memory=len(edges) - 1)
    run = run_dbt_here(tmp_path, CORE, settings)
    assert run.success, run.output
    assert not any("recursive" in result["compiled_code"] for result in run.results)
    rows = run.rows("select * from intermediate.int_interactions_core")
    assert sorted(rows, key=str) == core_by_hand(edges, users_need, items_need)


ENTITIES = (
    *("&amp;", "&quot;", "&lt;", "&gt;", "&nbsp;", "&eacute;", "&Uuml;", "&frac12;", "&ndash;", "&rsquo;", "&ldquo;"),
    *("&hellip;", "&trade;", "&reg;", "&deg;", "&times;", "&Omega;", "&szlig;"),
    *("&#39;", "&#x27;", "&#X27;", "&#233;", "&#8217;", "&#145;", "&#x96;", "&#128512;"),
)
NO_ENTITIES = ("&", "&;", "&word;", "&#;", "&#x;", ";", "x27;", "amp;", "lt;", "word", "Größe", "3 < 4", "日本", "5'")
PIECES = (*ENTITIES, *NO_ENTITIES, "  ", "\n", "\u00a0")


def test_text_is_decoded_as_the_standard_library_does(compiled: CompiledProject) -> None:
    generator = random.Random(4)
    texts = ["".join(generator.choices(PIECES, k=generator.randrange(1, 9))) for _ in range(3000)]
    lines = [description(f"B{number:05d}", brand=text) for number, text in enumerate(texts)]
    landing = Landing(reviews=placed([review("A", "B", 1)], generator), metadata=placed(list(lines), generator))
    with compiled.build(landing, ALL_SETTINGS["hash"]) as connection:
        rows = connection.execute(
            "select item_id, brand from warehouse.staging.stg_metadata order by item_id"
        ).fetchall()
    for text, (_, brand) in zip(texts, rows, strict=True):
        assert brand == (" ".join(html.unescape(text).split()) or None), text


NO_WHOLE_NUMBER = "must be a whole number of 0 or more, not"
NO_DATE = "must be an ISO date such as 2014-12-31, or empty, not"
NO_BOUNDARY = "must be a number between 0 and 1, such as '0.8', or an ISO date such as 2014-12-31, not"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"tie_order": "random"}, "the variable tie_order must be one of hash, file, item, shuffle, not 'random'"),
        (
            {"split": "random"},
            "the variable split must be one of leave-one-out, leave-last-k, global-temporal, temporal-folds, "
            "cold-items, not 'random'",
        ),
        (
            {"split": "leave-last-k", "last_items": 0},
            "the variable last_items must be a whole number of 1 or more, not '0'",
        ),
        ({"k_core": -1}, f"the variable k_core {NO_WHOLE_NUMBER} '-1'"),
        ({"k_core_items": -2}, "the variable k_core_items must be a whole number of 0 or more, or -1 to be as k_core"),
        ({"min_rating": "good"}, "the variable min_rating must be a number of 0 or more, not 'good'"),
        ({"verified_only": "maybe"}, "the variable verified_only must be true or false, not 'maybe'"),
        ({"from_date": "2014-02-29"}, f"the variable from_date {NO_DATE} '2014-02-29'"),
        (
            {"from_date": "2014-02-02", "until_date": "2014-02-02"},
            "the variable from_date must be before until_date, not '2014-02-02' and '2014-02-02'",
        ),
        ({"test_from": "1"}, f"the variable test_from {NO_BOUNDARY} '1'"),
        (
            {"validation_from": "0.9", "test_from": "0.8"},
            "the variable validation_from must be before test_from, not '0.9' and '0.8'",
        ),
        # of other variables, by the same macros
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ({"split": "leave-last-k", "last_items": "all"}, f"the variable last_items {NO_WHOLE_NUMBER} 'all'"),
                (
                    {"k_core": 2, "k_core_rows_in_memory": "all"},
                    f"the variable k_core_rows_in_memory {NO_WHOLE_NUMBER} 'all'",
                ),
                ({"validation_users": "all"}, f"the variable validation_users {NO_WHOLE_NUMBER} 'all'"),
                ({"min_history": 1.5}, f"the variable min_history {NO_WHOLE_NUMBER} '1.5'"),
                ({"first_interaction_only": 1}, "the variable first_interaction_only must be true or false, not '1'"),
                ({"until_date": "yesterday"}, f"the variable until_date {NO_DATE} 'yesterday'"),
                ({"validation_from": "0.0"}, f"the variable validation_from {NO_BOUNDARY} '0.0'"),
            ]
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(compiled: CompiledProject, variables: dict, message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)):
        compiled.models(Settings(**variables))
