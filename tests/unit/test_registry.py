"""ml/registry.py: one file adds a baseline, an encoder or a method of codes, and nothing is imported to list it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recommender_factories import made_up_training_set

from ml.audits.registry import ARGUMENTS, AUDITS
from ml.baselines.registry import BASELINES, Baseline
from ml.codes.recipe import load_codes_recipe
from ml.codes.registry import METHODS
from ml.models.item_embeddings import DenseItemEmbedding
from ml.objectives.build import build_objective
from ml.objectives.registry import OBJECTIVES
from ml.objectives.settings import SoftmaxSettings, describe
from ml.objectives.targets import Targets
from ml.registry import Registered, RegistryError, registered
from ml.text.registry import ENCODERS, Encoder
from ml.text.vectors import text_vectors
from ml.training.recipe import load_recipe, recipe_from_tables

RECIPES = Path(__file__).parents[1] / "recipes"

BASELINE = """
from ml.baselines.most_popular import MostPopular
from ml.registry import Registered

REGISTERED = Registered(
    name="made_up",
    title="Made up",
    description="What the most popular does,"
    " under another name.",
    source="nobody",
    path="ml.baselines.made_up:MadeUp",
    rank=35,
)


class MadeUp(MostPopular):
    name = "made_up"
"""
ENCODER = """
import numpy as np

from ml.registry import Registered

REGISTERED = Registered(
    name="lengths", title="Lengths", description="By parity.", source="nobody", path="ml.text.lengths:Lengths"
)


class Lengths:
    name = "lengths"

    def encode(self, texts):
        return np.array([[len(text) % 2, 1 - len(text) % 2] for text in texts], dtype=np.float32)
"""
AUDIT = """
from ml.audits.audit import NO_CONCERN, Audit
from ml.registry import Registered

REGISTERED = Registered(
    name="counting",
    title="Counting",
    description="How many items there are.",
    source="nobody",
    path="ml.audits.counting:count",
    needs=("sequences", "seed"),
    rank=15,
)


def count(sequences, seed):
    return Audit("counting", "Counting", f"There are {sequences.items} items.", NO_CONCERN, "They are counted.")
"""
OBJECTIVE = """
from dataclasses import dataclass
from typing import ClassVar

from ml.objectives.softmax import Softmax
from ml.registry import Registered

REGISTERED = Registered(
    name="halved",
    title="Halved",
    description="Half a loss.",
    source="nobody",
    path="ml.objectives.halved:HalvedSettings",
)


@dataclass(frozen=True)
class HalvedSettings:
    share: float

    objective: ClassVar[str] = "ml.objectives.halved:Halved"

    def describe(self, items=None):
        return f"{self.share:g} of a softmax"


class Halved(Softmax):
    def __init__(self, settings, counts):
        self.share = settings.share

    def __call__(self, states, targets, embedding, generator):
        return self.share * super().__call__(states, targets, embedding, generator)
"""
METHOD = """
from dataclasses import dataclass

import numpy as np

from ml.codes.codes import Codes, described_books
from ml.registry import Registered

REGISTERED = Registered(
    name="index",
    title="Index",
    description="The digits of the index.",
    source="nobody",
    path="ml.codes.index:IndexSettings",
)


@dataclass(frozen=True)
class IndexSettings:
    base: int

    def assign(self, training_set, book_sizes, seed, vectors):
        items = np.arange(training_set.items)
        values = np.stack([items // self.base, items % self.base], axis=1).astype(np.uint8)
        return Codes(values, {"name": "index", **described_books((256, self.base)), "seed": seed})
"""


def add(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str, source: str) -> None:
    """A module of a package, in a folder of its own."""
    package, _, name = module.rpartition(".")
    loaded = importlib.import_module(package)
    (folder / f"{name}.py").write_text(source)
    monkeypatch.setattr(loaded, "__path__", [*loaded.__path__, str(folder)])
    # importing it sets both, which are removed again at the end
    monkeypatch.setattr(loaded, name, None, raising=False)
    monkeypatch.delattr(loaded, name)
    monkeypatch.delitem(sys.modules, module, raising=False)


def test_a_file_is_a_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, tmp_path, "ml.baselines.made_up", BASELINE)
    found = registered("ml.baselines", Baseline)
    names = [*BASELINES]
    names.insert(names.index("most_popular") + 1, "made_up")
    assert list(found) == names
    assert "ml.baselines.made_up" not in sys.modules
    assert found["made_up"].description == "What the most popular does, under another name."
    training_set = made_up_training_set()
    histories = training_set.histories("test")
    made, known = (found[name].create().fit(training_set) for name in ("made_up", "most_popular"))
    assert np.array_equal(made.recommend(histories, 5, False).items, known.recommend(histories, 5, False).items)


def test_a_file_is_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, tmp_path, "ml.text.lengths", ENCODER)
    found = registered("ml.text", Encoder)
    assert list(found) == [*ENCODERS, "lengths"]
    monkeypatch.setattr("ml.text.registry.ENCODERS", found)
    assert text_vectors(made_up_training_set(), "lengths").shape[1] == 2


def test_a_file_is_a_method_of_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, tmp_path, "ml.codes.index", METHOD)
    found = registered("ml.codes", Registered)
    assert list(found) == [*METHODS, "index"]
    monkeypatch.setattr("ml.codes.recipe.METHODS", found)
    path = tmp_path / "by_index.toml"
    path.write_text('title = "T"\ndescription = "D."\nsource = "S"\n[method]\nname = "index"\nbase = 16\n')
    codes = load_codes_recipe(path).assign(made_up_training_set(items=40))
    assert codes.book_sizes == (256, 16)
    assert codes.values[37].tolist() == [2, 5]


def test_a_file_is_an_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, tmp_path, "ml.objectives.halved", OBJECTIVE)
    found = registered("ml.objectives", Registered)
    assert list(found) == [*OBJECTIVES, "halved"]
    monkeypatch.setattr("ml.training.recipe.OBJECTIVES", found)
    recipe = load_recipe(RECIPES / "tiny_softmax.toml")
    tables = recipe.as_tables() | {"objective": {"name": "halved", "share": 0.5}}
    halved = recipe_from_tables("mine", tables, "mine.toml").objective
    assert describe(halved) == "0.5 of a softmax"
    states, table = torch.randn(4, 8), DenseItemEmbedding(12, 8, 0.5)
    losses = [
        build_objective(settings, np.ones(12, dtype=np.int64))(
            states, Targets(torch.arange(4)), table, np.random.default_rng(0)
        )
        for settings in (halved, SoftmaxSettings())
    ]
    torch.testing.assert_close(2 * losses[0], losses[1])


def test_a_file_is_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, tmp_path, "ml.audits.counting", AUDIT)
    found = registered("ml.audits", Registered)
    assert list(found) == ["shortcuts", "counting", "ties", "duplicates", "leakage", "temporal", "calibration"]
    assert list(AUDITS) == [name for name in found if name != "counting"]
    audit = found["counting"].resolve()(sequences=made_up_training_set(items=40), seed=0)
    assert audit.verdict == "There are 40 items."


@pytest.mark.parametrize("audit", AUDITS.values(), ids=AUDITS)
def test_an_audit_needs_the_arguments_of_its_function(audit: Registered) -> None:
    parameters = inspect.signature(audit.resolve()).parameters
    assert set(audit.needs) <= set(parameters)
    assert set(audit.needs) <= set(ARGUMENTS)
    assert {name for name, one in parameters.items() if one.default is one.empty} <= set(audit.needs)


def test_an_audit_that_needs_what_there_is_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, tmp_path, "ml.audits.counting", AUDIT.replace('"seed"', '"sed"'))
    spec = importlib.util.find_spec("ml.audits.registry")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(
        ValueError, match=r"ml\.audits\.counting: REGISTERED: an audit cannot be given sed; it may need "
    ):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_what_is_registered_is_imported_when_it_is_used_and_not_before() -> None:
    code = (
        "import json, sys; from ml.baselines.registry import BASELINES; from ml.text.registry import ENCODERS;"
        "from ml.codes.registry import METHODS; from ml.audits.registry import AUDITS;"
        "from ml.objectives.registry import OBJECTIVES;"
        "found = {one.module for all in (BASELINES, ENCODERS, METHODS, AUDITS, OBJECTIVES) for one in all.values()};"
        "print(sorted(found & set(sys.modules)),"
        "sorted({'scipy', 'sklearn', 'pyarrow', 'torch', 'bm25s'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


@pytest.mark.parametrize(
    "names", [BASELINES, ENCODERS, METHODS, AUDITS], ids=["baselines", "encoders", "methods", "audits"]
)
def test_everything_that_ships_says_what_it_is(names) -> None:
    for name, one in names.items():
        assert name == one.name
        assert one.description.endswith(".")
        assert not one.source.endswith(".")
        assert getattr(one.resolve(), "name", name) == name
    with pytest.raises(TypeError):
        names["other"] = one


GOOD = 'Registered(name="a", title="A", description="A.", source="S", path="m:A")'


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("REGISTERED = 3", 1, r"REGISTERED must be Registered\(\.\.\.\), or a tuple of these"),
        ("\nREGISTERED = Registered('a')", 2, "REGISTERED takes keyword arguments alone, of description, name, "),
        (f"REGISTERED = {GOOD[:-1]}, colour=1)", 1, "REGISTERED takes keyword arguments alone, of description, name, "),
        (f"TITLE = 'A'\nREGISTERED = {GOOD}".replace('"A"', "TITLE"), 2, "title must be a literal"),
        (f"REGISTERED = {GOOD}".replace(', path="m:A"', ""), 1, "missing 1 required positional argument: 'path'"),
        (f"REGISTERED = {GOOD}".replace("m:A", "m.A"), 1, "path must have the form \"module:object\", not 'm.A'"),
        (f"REGISTERED = {GOOD}".replace('"A."', '""'), 1, "description must be a text that is not empty"),
        (f"REGISTERED = {GOOD[:-1]}, needs='text')", 1, "needs must be a tuple of texts, not 'text'"),
        (f"REGISTERED = (\n    {GOOD},\n    {GOOD},\n)", 3, r"a is registered in .*one\.py too; choose another name"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, line: int, message: str
) -> None:
    (tmp_path / "made_up_package").mkdir()
    (tmp_path / "made_up_package" / "__init__.py").touch()
    (tmp_path / "made_up_package" / "one.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "made_up_package", raising=False)
    with pytest.raises(RegistryError, match=rf"one\.py, line {line}: .*{message}"):
        registered("made_up_package", Registered)


def test_equal_ranks_stand_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_up_order").mkdir()
    (tmp_path / "made_up_order" / "__init__.py").touch()
    for name, rank in (("b", 1), ("a", 1), ("c", 0)):
        source = f"REGISTERED = {GOOD[:-1]}, rank={rank})".replace('name="a"', f'name="{name}"')
        (tmp_path / "made_up_order" / f"of_{name}.py").write_text(source)
    (tmp_path / "made_up_order" / "nothing.py").write_text("import does_not_exist\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(registered("made_up_order", Registered)) == ["c", "a", "b"]
