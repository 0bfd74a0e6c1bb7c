"""The table of docs/what_reruns.md: what is made again when one thing changes.

Each row is made here, by ``make run``, the schedule and the sensor, which have to agree, and compared with the page;
``pytest tests/orchestration/test_what_reruns.py --update-golden`` writes the rows anew.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest
from costs import others_slow
from plan_bench import (
    GRAPH,
    NAME,
    RECIPES,
    WANTED,
    asked,
    names,
    replaced_code,
    rewrite,
    run,
)

from orchestration.contracts import checks as contracts
from orchestration.contracts import files as contract_files
from orchestration.definitions import defs
from orchestration.paths import REPOSITORY, Workspace

PAGE = REPOSITORY / "docs" / "what_reruns.md"
WAREHOUSE = ("staging", "intermediate", "marts")
TEXT = {"training_sets/item_text", "training_sets/text_vectors"}
FITTED = ("baselines", "models")
DASH = "–"


@dataclass
class Place:
    """What a change is made in."""

    home: Path
    instance: dg.DagsterInstance
    rebuilt: Callable[[], dg.Definitions]
    patch: pytest.MonkeyPatch
    scratch: Path

    @property
    def dump(self) -> Path:
        return self.home / "landing" / NAME

    def edit_recipe(self, line: str, other: str) -> dg.Definitions:
        shutil.copytree(RECIPES, self.scratch / "recipes")
        recipe = self.scratch / "recipes" / "tiny_softmax.toml"
        assert line in recipe.read_text()
        recipe.write_text(recipe.read_text().replace(line, other))
        self.patch.setenv("RAW2RANK_RECIPES", str(self.scratch / "recipes"))
        return self.rebuilt()

    def edit_code(self, module: str) -> dg.Definitions:
        replaced_code(self.patch, module)
        return self.rebuilt()

    def upgrade(self, library: str) -> dg.Definitions:
        known = metadata.version
        self.patch.setattr(metadata, "version", lambda name: "99.1" if name == library else known(name))
        return self.rebuilt()

    def set(self, line: str) -> None:
        paths = Workspace.current().dataset(NAME)
        paths.register(None)
        paths.registration.write_text(f"{paths.registration.read_text()}\n{line}\n")


def add_review(place: Place) -> None:
    rewrite(place.dump / f"{NAME}.json.gz", lambda text: text + text.splitlines(keepends=True)[-1])


def remove_review(place: Place) -> None:
    rewrite(place.dump / f"{NAME}.json.gz", lambda text: text[: text.rindex(b"{")])


def correct_price(place: Place) -> None:
    rewrite(place.dump / f"meta_{NAME}.json.gz", lambda text: text.replace(b"$", b"$1", 1))


def touch(place: Place) -> None:
    for path in place.dump.iterdir():
        path.touch()


def compress_otherwise(place: Place) -> None:
    path = place.dump / f"{NAME}.json.gz"
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text, compresslevel=1, mtime=1))


def edit_contract(place: Place, name: str) -> dg.Definitions:
    def changed() -> list[contract_files.Contract]:
        found = contract_files.load_contracts()
        return [replace(one, rules=one.rules[1:]) if one.name == name else one for one in found]

    place.patch.setattr(contracts, "load_contracts", changed)
    return place.rebuilt()


def remove_slices(place: Place) -> None:
    (place.home / "lake" / NAME / "evaluation" / "slices.json").unlink()


def remove_champion(place: Place) -> None:
    shutil.rmtree(Workspace.current().dataset(NAME).champion)


Change = Callable[[Place], dg.Definitions | None]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        change: in words.
        how: makes it.
        settings: that ``make run`` is given; schedule and sensor read the same from the file of the dataset.
        contents: assets that get another content; ``None``: all that are made.
        others_may: whether schedule and sensor ask for more, of which their run leaves what turns out to be the same.
    """

    change: str
    how: Change
    settings: dict[str, object] | None = None
    contents: tuple[str, ...] | None = None
    others_may: bool = False


OF_A_PRICE = (
    *("landing/metadata", "staging/stg_metadata", "intermediate/int_metadata_deduplicated", "marts/items"),
    "training_sets/item_text",
    "training_sets/text_vectors",
)
OF_FOLDS = ("settings/folds", "evaluation/earlier_folds", "evaluation/folds")
ROWS = [
    Row("nothing", lambda place: None),
    Row("a dump is copied again, with the same bytes", touch),
    Row("a review is added", add_review),
    Row("a review is removed", remove_review),
    Row("a price or a title is corrected", correct_price, contents=OF_A_PRICE, others_may=True),
    Row("`K_CORE`", lambda place: place.set("k_core = 4"), {"k_core": 4}),
    Row("`TIE_ORDER`", lambda place: place.set('tie_order = "item"'), {"tie_order": "item"}),
    Row("`FIT_ON`", lambda place: place.set('fit_on = "train+validation"'), {"fit_on": "train+validation"}),
    Row("`SEEDS`", lambda place: place.set("seeds = 2"), {"seeds": 2}),
    Row("`FOLDS`", lambda place: place.set("folds = 4"), {"folds": 4}, OF_FOLDS, others_may=True),
    Row("`TEST_USERS`", lambda place: place.set("test_users = 20"), {"test_users": 20}),
    Row("`THREADS`", lambda place: place.set("threads = 2"), {"threads": 2}),
    Row("a value of one recipe", lambda place: place.edit_recipe("max_epochs = 2", "max_epochs = 3")),
    Row("the notes of a recipe", lambda place: place.edit_recipe('notes = "Learns', 'notes = "Understands')),
    Row("a rule of a contract", lambda place: edit_contract(place, "marts/splits"), contents=()),
    Row("code of a baseline", lambda place: place.edit_code("ml.baselines.repeat_last")),
    Row("code of SASRec", lambda place: place.edit_code("ml.models.sasrec")),
    Row("code of the slices", lambda place: place.edit_code("ml.evaluation.slices")),
    Row("code of the report", lambda place: place.edit_code("ml.reports.render.html")),
    Row("torch is upgraded", lambda place: place.upgrade("torch")),
    Row("scikit-learn is upgraded", lambda place: place.upgrade("scikit-learn")),
    Row("dbt is upgraded", lambda place: place.upgrade("dbt-core")),
    Row("duckdb is upgraded", lambda place: place.upgrade("duckdb")),
    Row("tqdm is upgraded", lambda place: place.upgrade("tqdm")),
    Row("a file of an asset is deleted", remove_slices),
    Row("the champion is deleted", remove_champion),
]


# the slow tests make the rows that take the way of another one here: a setting of the same asset, or of one that
# test_plan.py changes in the file of the dataset, other code or a template of the same page, another library
ALWAYS_MADE = [row.change for row in ROWS]
for change in (
    *("a review is removed", "`TIE_ORDER`", "`FIT_ON`", "`SEEDS`", "`TEST_USERS`"),
    *("code of a baseline", "code of the slices", "scikit-learn is upgraded", "duckdb is upgraded"),
    "code of the report",
):
    ALWAYS_MADE.remove(change)


def reads_text() -> set[str]:
    """Baselines and models that read the text of items, and what is built on them."""
    found, rest = set(), {dg.AssetKey(name.split("/")) for name in TEXT}
    while rest:
        below = {child for key in rest for child in GRAPH.get(key).child_keys & WANTED}
        rest = {key for key in below if key.path[0] in FITTED} - found
        found |= rest
    return names(found)


def columns() -> dict[str, set[str]]:
    """The columns of the table: which assets each stands for."""
    known, text = names(WANTED), reads_text()

    def of(*layers: str) -> set[str]:
        return {name for name in known if name.split("/")[0] in layers}

    report = {"evaluation/report"}
    return {
        "landing": of("landing"),
        "warehouse": of(*WAREHOUSE),
        "training sets": of("training_sets"),
        "codes": of("codes"),
        "fitted on ids": of(*FITTED) - text,
        "fitted on text": of(*FITTED) & text,
        "rankings": of("rankings"),
        "audits": of("audits"),
        "evaluation": of("evaluation") - report,
        "report": report,
        "release": of("release"),
    }


def cell(made: Iterable[str], of: set[str]) -> str:
    """How many assets of a column are made again; the one asset by its name."""
    some = sorted(of & set(made))
    if not some:
        return DASH
    if len(some) == len(of):
        return "all"
    return f"`{some[0].split('/')[-1]}`" if len(some) == 1 else f"{len(some)} of {len(of)}"


def line_of(change: str, made: set[str]) -> str:
    return f"| {change} | {' | '.join(cell(made, of) for of in columns().values())} |"


@pytest.mark.parametrize("row", others_slow({row.change: row for row in ROWS}, *ALWAYS_MADE))
def test_a_row_of_the_page(
    row: Row, home: Path, instance: dg.DagsterInstance, rebuilt, monkeypatch, tmp_path: Path, request
) -> None:
    definitions = row.how(Place(home, instance, rebuilt, monkeypatch, tmp_path)) or defs
    if row.others_may:
        changed = set(row.contents or ())

        def content(key: dg.AssetKey) -> str:
            return "2" if key.to_user_string() in changed else "1"

        made = run(instance, definitions, content, **(row.settings or {}))
    else:
        made = asked(instance, definitions, row.contents, **(row.settings or {}))
    line = line_of(row.change, made)
    text = PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--update-golden"):
        lines = text.splitlines()
        at = [index for index, one in enumerate(lines) if one.startswith(f"| {row.change} |")]
        if at:
            lines[at[0]] = line
        else:
            end = max(index for index, one in enumerate(lines) if one.startswith("|"))
            lines.insert(end + 1, line)
        text = "\n".join(lines) + "\n"
        PAGE.write_text(text, encoding="utf-8", newline="\n")
    assert line in text.splitlines(), "docs/what_reruns.md is out of date: where that is right, use --update-golden"


def test_the_page_has_these_rows_and_no_others() -> None:
    table = [one for one in PAGE.read_text(encoding="utf-8").splitlines() if one.startswith("|")]
    head, _, *rows = table
    assert head == f"| What changes | {' | '.join(columns())} |"
    assert [one.split(" | ")[0].removeprefix("| ") for one in rows] == [row.change for row in ROWS]
