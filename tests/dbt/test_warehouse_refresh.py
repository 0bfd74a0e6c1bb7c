"""A refresh gives the same bytes as a build from scratch, whatever happened to the files in between."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pytest
from costs import others_slow
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_warehouse_properties import ALL_SETTINGS, CORE, core_by_hand, multigraphs, table_of_edges
from warehouse_dbt import CompiledProject, DbtRun, run_dbt_here
from warehouse_landing import Landing, dirty_landing, divided_landing, ordered_landing
from warehouse_reference import Settings, k_core

from orchestration.assets.warehouse import export
from orchestration.paths import DatasetPaths

# names that could be mistaken for a number, a date, the end of a string or a placeholder
A, B, C, D = NAMES = ("007", "2014-01-01", "it's c.json.gz", "{d}.json.gz")
KINDS = ("reviews", "metadata")
TABLES = (
    *("staging.stg_reviews", "staging.stg_metadata"),
    *(f"intermediate.int_{name}_deduplicated" for name in ("interactions", "metadata")),
    *("intermediate.int_interactions_judged", "intermediate.int_core_nodes", "intermediate.int_interactions_core"),
    *(f"marts.{name}" for name in ("interactions", "splits", "users", "items", "statistics", "reconciliation")),
)
EXPORTED = [tuple(name.split(".")) for name in TABLES if not name.startswith("intermediate")]
KEPT_BY_FILE = ("stg_metadata", "int_interactions_deduplicated", "int_metadata_deduplicated")
# these, and what they read
UP_TO_KEPT = ("--select", *(f"+{name}" for name in KEPT_BY_FILE))


@dataclass
class Dumps:
    """The present files by kind and name, and the order in which the source names them."""

    times: bool
    files: dict[str, dict[str, list[dict]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    order: tuple[str, ...] = NAMES

    def put(self, name: str, seed: int) -> None:
        """Add a file of each kind, or replace it."""
        drawn = (divided_landing if seed % 3 == 0 else dirty_landing)(seed) if self.times else ordered_landing(seed)
        for kind in KINDS:
            records = getattr(drawn, kind)
            source = random.Random(seed).choice(sorted({record["source_file"] for record in records}))
            self.files[kind][name] = [
                record | {"source_file": name} for record in records if record["source_file"] == source
            ]

    def land(self) -> Landing:
        return Landing(
            **{
                kind: [record for name in sorted(self.files[kind]) for record in self.files[kind][name]]
                for kind in KINDS
            },
            order=self.order,
        )

    def happen(self, what: str, name: str, seed: int) -> None:
        if what == "put":
            self.put(name, seed)
        elif what == "remove" and len(self.files["reviews"]) > 1:
            for kind in KINDS:
                self.files[kind].pop(name, None)
        elif what == "correct":
            # one price, and no review
            for record in self.files["metadata"].get(name, [])[:1]:
                record |= {"price": "$3.00", "line_digest": seed}
        elif what == "reorder":
            self.order = tuple(random.Random(seed).sample(NAMES, len(NAMES)))


def content(connection: duckdb.DuckDBPyConnection, database: str, table: str) -> list[tuple]:
    """Rows of a table, sorted; those of marts in their own order, which is part of their contract."""
    rows = connection.execute(f"select * from {database}{table}").fetchall()
    return rows if table.startswith("marts") else sorted(rows, key=repr)


def refresh(folder: Path, landing: Landing, chosen: Settings, *options: str) -> DbtRun:
    landing.write(folder)
    run = run_dbt_here(folder, ["run", "--no-write-json", *options], chosen)
    assert run.success, run.output
    return run


def exported(folder: Path, warehouse: str = "warehouse.duckdb") -> dict[tuple[str, str], bytes]:
    """Bytes of the exported files of a warehouse in a folder."""
    paths = DatasetPaths(folder / "home", "Shop")
    paths.warehouse.parent.mkdir(parents=True, exist_ok=True)
    paths.warehouse.unlink(missing_ok=True)
    paths.warehouse.symlink_to(folder / warehouse)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAW2RANK_DUCKDB_THREADS", "1")
        export(paths, EXPORTED)
    return {name: paths.table(*name).read_bytes() for name in EXPORTED}


def assert_refreshes_are_builds(
    compiled: CompiledProject,
    chosen: Settings,
    start: int,
    steps: list[list[tuple[str, str, int]]],
    times: bool,
    fully: bool = False,
) -> None:
    """Compare every table after every step, and the exported bytes at the end, with those of a build from scratch.

    A step is all that happens to the files between two builds. ``fully`` compares with ``--full-refresh``, too.
    """
    dumps = Dumps(times or chosen.split == "global-temporal")
    for number, name in enumerate(NAMES[1:]):
        dumps.put(name, start + number)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for step in [[], *steps]:
            for what, name, seed in step:
                dumps.happen(what, name, seed)
                if what == "settings":
                    chosen = replace(chosen, k_core=seed % 4, min_rating=4 * (seed % 2))
            landing = dumps.land()
            refresh(folder, landing, chosen)
            scratch = folder / "scratch.duckdb"
            scratch.unlink(missing_ok=True)
            with (
                compiled.build(landing, chosen, str(scratch)) as whole,
                duckdb.connect(str(folder / "warehouse.duckdb")) as kept,
            ):
                for table in TABLES:
                    assert content(kept, "", table) == content(whole, "warehouse.", table), (table, step)
        refreshed = exported(folder)
        shutil.rmtree(folder / "home")
        built = exported(folder, scratch.name)
        # a view in the warehouse of dbt and a table here, of which DuckDB writes other statistics
        view = ("staging", "stg_reviews")
        assert {**built, view: refreshed[view]} == refreshed
        if fully:
            shutil.rmtree(folder / "home")
            refresh(folder, landing, chosen, "--full-refresh")
            assert exported(folder) == refreshed


@pytest.mark.parametrize("settings", others_slow(ALL_SETTINGS, "leave-last-k"))
def test_files_that_come_and_go_leave_what_a_build_from_scratch_gives(
    compiled: CompiledProject, settings: Settings
) -> None:
    # B stays; one comes in front of it, one behind is replaced, and one is gone
    steps = [[("put", A, 6), ("put", C, 7), ("remove", D, 0)]]
    assert_refreshes_are_builds(compiled, settings, 4, steps, times=True)


REFRESHES = {
    "start": st.integers(0, 1000),
    "steps": st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "remove", "correct", "reorder", "settings"]),
                st.sampled_from(NAMES),
                st.integers(0, 1000),
            ),
            min_size=1,
            max_size=3,
        ),
        min_size=2,
        max_size=3,
    ),
    "times": st.booleans(),
    "chosen": st.sampled_from(list(ALL_SETTINGS.values())),
}


# a build takes a second or two; another `--hypothesis-seed` gives others
@pytest.mark.slow
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(**REFRESHES)
def test_whatever_happens_to_files_a_refresh_gives_what_a_build_from_scratch_gives(
    compiled: CompiledProject, chosen: Settings, start: int, steps: list, times: bool
) -> None:
    assert_refreshes_are_builds(compiled, chosen, start, steps, times, fully=True)


def messages(run: DbtRun) -> dict[str, str]:
    return {result["unique_id"].split(".")[2]: result["message"] for result in run.results}


def test_files_that_stay_are_not_cleaned_again(tmp_path: Path) -> None:
    """Rows that were changed by hand stay as they are until their file changes."""
    dumps, chosen = Dumps(times=True), ALL_SETTINGS["hash"]
    for seed, name in enumerate(NAMES[:2]):
        dumps.put(name, seed + 30)
    refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("update staging.stg_metadata set title = 'spoilt'")
    again = refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT)
    assert {name for name, message in messages(again).items() if message == "UNCHANGED"} == set(KEPT_BY_FILE)

    dumps.put(D, 33)
    added = refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT)
    assert "UNCHANGED" not in {messages(added)[name] for name in KEPT_BY_FILE}
    spoilt = "select distinct source_file from staging.stg_metadata where title = 'spoilt' order by all"
    assert added.rows(spoilt) == [(A,), (B,)]
    dumps.put(A, 34)
    assert refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT).rows(spoilt) == [(B,)]
    assert refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT, "--full-refresh").rows(spoilt) == []


def test_exports_are_written_where_their_content_changed(tmp_path: Path) -> None:
    dumps, chosen = Dumps(times=True), ALL_SETTINGS["hash"]
    dumps.put(A, 60)
    refresh(tmp_path, dumps.land(), chosen)
    exported(tmp_path)
    files = {".".join(name): DatasetPaths(tmp_path / "home", "Shop").table(*name) for name in EXPORTED}
    # a file that is written is put in the place of the other
    first = {name: path.stat().st_ino for name, path in files.items()}
    files["marts.users"].write_bytes(files["marts.users"].read_bytes()[:-50] + bytes(50))
    bought = {record["item_id"] for record in dumps.files["reviews"][A] if "reason" not in record}
    described = next(record for record in dumps.files["metadata"][A] if record.get("item_id") in bought)
    dumps.files["metadata"][A] = [
        record | {"image_url": "https://x/other.jpg"} if record.get("item_id") == described["item_id"] else record
        for record in dumps.files["metadata"][A]
    ]
    refresh(tmp_path, dumps.land(), chosen)
    exported(tmp_path)
    written = {name for name, path in files.items() if path.stat().st_ino != first[name]}
    assert written == {"staging.stg_metadata", "marts.items", "marts.users"}


@pytest.mark.slow
def test_a_table_of_another_recipe_is_built_from_scratch(tmp_path: Path) -> None:
    """The recipe covers SQL, macros, variables, the version of DuckDB, and the same of what the model reads."""
    dumps, chosen = Dumps(times=True), ALL_SETTINGS["hash"]
    for seed, name in enumerate(NAMES[:2]):
        dumps.put(name, seed + 40)
    refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT)
    for spoil in (
        "update staging.stg_metadata set title = 'spoilt'; update staging.stg_metadata__files set recipe = 'other'",
        "update staging.stg_metadata set title = 'spoilt'; drop table staging.stg_metadata__files",
        "drop table staging.stg_metadata",
    ):
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
            connection.execute(spoil)
        run = refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT)
        assert messages(run)["stg_metadata"] != "UNCHANGED"
        assert run.rows("select count(*) from staging.stg_metadata where title = 'spoilt'") == [(0,)]


def test_a_refresh_that_fails_midway_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    dumps, chosen = Dumps(times=True), ALL_SETTINGS["hash"]
    for seed, name in enumerate(NAMES[:2]):
        dumps.put(name, seed + 50)
    run = refresh(tmp_path, dumps.land(), chosen, *UP_TO_KEPT)
    kept = "select count(*), sum(hash(t)) from intermediate.int_interactions_deduplicated as t"
    note = "from intermediate.int_interactions_deduplicated__files"
    before = run.rows(kept), run.rows(note)
    # too narrow for the new counts: the delete succeeds and the insert fails
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        table = "intermediate.int_interactions_deduplicated"
        connection.execute(f"alter table {table} alter duplicate_rows set data type tinyint")
    dumps.put(C, 52)
    dumps.files["reviews"][C] = [
        record | {"line_number": number + 1, "line_digest": number}
        for number, record in enumerate([dumps.files["reviews"][A][-1]] * 300)
    ]
    landing = dumps.land()
    landing.write(tmp_path)
    failed = run_dbt_here(tmp_path, ["run", *UP_TO_KEPT], chosen)
    assert messages(failed)["int_interactions_deduplicated"].startswith("Runtime Error")
    assert (failed.rows(kept), failed.rows(note)) == before
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute(f"alter table {table} alter duplicate_rows set data type bigint")
    healed = refresh(tmp_path, landing, chosen, *UP_TO_KEPT)
    assert healed.rows(f"select max(duplicate_rows) >= 299 from {table}") == [(True,)]


EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40)


@given(edges=EDGES, added=EDGES, users_need=st.integers(0, 4), items_need=st.integers(0, 4))
def test_a_k_core_only_grows_with_rows(edges: list, added: list, users_need: int, items_need: int) -> None:
    """Why a core may be computed from the last one: any set in which each has enough is part of it."""
    before = Counter(k_core(edges, users_need, items_need))
    after = Counter(k_core([*edges, *added], users_need, items_need))
    assert before <= after
    within = [edge for edge in [*edges, *added] if edge in added]
    users, items = Counter(user for user, _ in within), Counter(item for _, item in within)
    if all(count >= users_need for count in users.values()) and all(count >= items_need for count in items.values()):
        assert Counter(within) <= after


@pytest.mark.slow
@pytest.mark.parametrize(("users_need", "items_need"), [(3, 2), (0, 3)])
def test_k_core_grown_from_the_last_is_the_k_core(tmp_path: Path, users_need: int, items_need: int) -> None:
    """Many graphs in one table: edges are added and removed, and thresholds change."""
    edges = multigraphs(users_need, items_need)
    generator = random.Random(7)
    some = [edge for edge in edges if generator.random() < 0.7]
    more = sorted({*some, *generator.sample(edges, len(edges) // 6)}, key=str)
    less = [edge for edge in edges if generator.random() < 0.6]
    for case, (now, users, grows) in enumerate(
        [
            (some, users_need, False),
            (more, users_need, True),
            (edges, users_need, True),
            # an easier core holds the last one, and a harder one does not
            (edges, max(users_need - 1, 0), True),
            (edges, users_need + 2, False),
            (less, users_need, False),
        ]
    ):
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
            connection.execute("create schema if not exists intermediate")
            connection.execute("drop table if exists intermediate.int_interactions_selected")
            table_of_edges(connection, "intermediate.int_interactions_selected", now)
        run = run_dbt_here(tmp_path, CORE, Settings(k_core_users=users, k_core_items=items_need))
        assert run.success, run.output
        assert any("recursive" in result["compiled_code"] for result in run.results) != grows, case
        rows = run.rows("select * from intermediate.int_interactions_core")
        assert sorted(rows, key=str) == core_by_hand(now, users, items_need), case
