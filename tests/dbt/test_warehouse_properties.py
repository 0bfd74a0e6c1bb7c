"""What holds for any dump and any settings: compiled SQL against plain Python, on datasets made at random."""

from __future__ import annotations

import html
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from warehouse_dbt import CompiledProject, empty_warehouse, table_rows
from warehouse_landing import Landing, description, dirty_landing, placed, review
from warehouse_reference import Settings, k_core, reference_marts

MARTS = ("interactions", "splits", "users", "items", "reconciliation", "statistics")
PLACES = ("source_file", "line_number")
ALL_SETTINGS = [
    Settings(k_core=2, tie_order="hash", seed=0, validation_users=3),
    Settings(k_core=3, tie_order="item", seed=5, validation_users=0),
    Settings(k_core=2, tie_order="shuffle", seed=7, validation_users=3),
    Settings(k_core=0, tie_order="file", seed=1, validation_users=4),
]


def names(settings: Settings) -> str:
    return f"{settings.tie_order}-{settings.k_core}-core"


@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=names)
def test_marts_are_what_plain_python_makes_of_the_dump(compiled: CompiledProject, settings: Settings) -> None:
    for seed in range(4):
        landing = dirty_landing(seed, users=10 + seed, reviews=60 + 20 * seed)
        expected = reference_marts(landing, settings)
        with compiled.build(landing, settings) as connection:
            for mart in MARTS:
                rows = table_rows(connection, f"marts.{mart}")
                assert len(rows) == len(expected[mart]), mart
                for row, expected_row in zip(rows, expected[mart], strict=True):
                    assert row == pytest.approx(expected_row), mart


@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=names)
def test_order_of_files_and_lines_matters_under_the_rule_file_alone(
    compiled: CompiledProject, settings: Settings
) -> None:
    landing = dirty_landing(seed=20)
    contents = []
    for variant in (landing, landing.shuffled(1), landing.shuffled(2)):
        with compiled.build(variant, settings) as connection:
            contents.append({mart: table_rows(connection, f"marts.{mart}", leave_out=PLACES) for mart in MARTS})
    for mart in ("users", "items", "statistics"):
        assert contents[0][mart] == contents[1][mart] == contents[2][mart], mart
    for mart in ("interactions", "splits"):
        same = contents[0][mart] == contents[1][mart] == contents[2][mart]
        assert same == (settings.tie_order != "file"), mart


@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=names)
def test_kept_places_point_at_the_line_of_the_interaction(compiled: CompiledProject, settings: Settings) -> None:
    landing = dirty_landing(seed=21)
    lines = {(line["source_file"], line["line_number"]): line for line in landing.reviews}
    with compiled.build(landing, settings) as connection:
        rows = table_rows(connection, "marts.interactions")
    assert rows
    for row in rows:
        line = lines[row["source_file"], row["line_number"]]
        assert (line["reviewer_id"], line["asin"], line["unix_review_time"], line["overall"]) == (
            row["user_id"],
            row["item_id"],
            row["timestamp"],
            row["rating"],
        )


def test_seeds_give_samples_and_shuffles_of_their_own(compiled: CompiledProject) -> None:
    landing = dirty_landing(seed=22, users=20, reviews=200)
    orders, samples = [], []
    for settings in (ALL_SETTINGS[2], replace(ALL_SETTINGS[2], seed=8)):
        with compiled.build(landing, settings) as connection:
            splits = table_rows(connection, "marts.splits")
        orders.append([row["item_id"] for row in splits])
        samples.append({row["user_id"] for row in splits if row["split"] == "validation"})
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert [len(sample) for sample in samples] == [3, 3]
    assert samples[0] != samples[1]


EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60)


@pytest.mark.parametrize("settings", ALL_SETTINGS[:2], ids=names)
def test_k_core_is_what_peeling_by_hand_leaves(compiled: CompiledProject, settings: Settings) -> None:
    code = compiled.models(settings)["intermediate.int_interactions_core"]
    with empty_warehouse() as connection:
        interactions = "warehouse.intermediate.int_interactions_deduplicated"
        connection.execute(f"create table {interactions} (user_id varchar, item_id varchar, timestamp bigint)")

        def core(edges: list[tuple]) -> list[tuple]:
            connection.execute(f"truncate {interactions}")
            if edges:
                connection.executemany(f"insert into {interactions} values (?, ?, ?)", edges)
            return sorted(connection.execute(code).fetchall())

        @hypothesis_settings(max_examples=60, deadline=None, database=None, derandomize=True)
        @given(EDGES)
        def random_multigraphs(pairs: list[tuple[int, int]]) -> None:
            edges = [(f"A{user}", f"B{item}", time) for time, (user, item) in enumerate(pairs)]
            assert core(edges) == sorted(k_core(edges, settings.k_core))

        random_multigraphs()

        # a chain, of which each round takes one link from either end; a knot that stays; and a hub that hangs on
        # the knot and loses all its other users in one round, when they have lost the rest of their items
        k = settings.k_core
        chain = [(f"A{n + step}", f"B{n}", time) for n in range(40) for step in (0, 1) for time in range(k - 1)]
        knot = [(f"A{100 + user}", f"B{100 + item}", 0) for user in range(k) for item in range(k)]
        hub = [("A100", "B200", 0)]
        for user in range(200, 212):
            hub += [(f"A{user}", "B200", 0), *((f"A{user}", f"B{user}-{item}", 0) for item in range(k - 1))]
        assert core(chain + knot + hub) == sorted(knot) == sorted(k_core(chain + knot + hub, k))


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
    with compiled.build(landing, ALL_SETTINGS[0]) as connection:
        rows = connection.execute(
            "select item_id, brand from warehouse.staging.stg_metadata order by item_id"
        ).fetchall()
    for text, (_, brand) in zip(texts, rows, strict=True):
        assert brand == (" ".join(html.unescape(text).split()) or None), text


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"tie_order": "random"}, "the variable tie_order must be one of hash, file, item, shuffle, not 'random'"),
        ({"k_core": -1}, "the variable k_core must be a whole number of 0 or more, not '-1'"),
        ({"validation_users": "all"}, "the variable validation_users must be a whole number of 0 or more, not 'all'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(compiled: CompiledProject, variables: dict, message: str) -> None:
    with pytest.raises(AssertionError, match=message.replace("(", r"\(")):
        compiled.models(Settings(**variables))
