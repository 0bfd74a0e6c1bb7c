"""Who may import whom, and what the definitions may cost to load."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from ml.syntax import parse

REPOSITORY = Path(__file__).parents[2]
TRAINING_CORE = ("ml/training", "ml/models", "ml/objectives")
HEAVY = (
    "torch",
    "great_expectations",
    "pandas",
    "polars",
    "pyarrow",
    "sklearn",
    "ranx",
    "matplotlib",
    "bm25s",
)


def imports(path: Path, only_top: bool = False) -> set[str]:
    tree = parse(path.read_bytes())
    nodes = tree.body if only_top else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def test_rooms_import_from_their_own_layer_and_those_below() -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("path", modules(*TRAINING_CORE), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_training_core_needs_torch_and_numpy_alone(path: Path) -> None:
    allowed = {"torch", "numpy", "ml", "safetensors", "tqdm"} | set(sys.stdlib_module_names)
    assert imports(path) <= allowed
    assert imports(path, only_top=True) <= allowed - {"safetensors", "tqdm"}


def test_nothing_is_unpickled() -> None:
    for path in modules("ml", "orchestration"):
        assert "pickle" not in imports(path), path
        assert "allow_pickle=True" not in path.read_text(), path
        assert "weights_only=False" not in path.read_text(), path


@pytest.fixture(scope="module")
def with_definitions() -> tuple[list[str], int, int]:
    """Of a process that loads the definitions: heavy libraries, frozen objects once they are loaded, and at the end."""
    # what was registered first is called last
    code = (
        "import atexit, gc, json, sys; atexit.register(lambda: print(gc.get_freeze_count()));"
        "import orchestration.definitions; frozen = gc.get_freeze_count();"
        f"print(json.dumps([[name for name in {HEAVY!r} if name in sys.modules], frozen]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded, ended = ran.stdout.splitlines()[-2:]
    return *json.loads(loaded), int(ended)


def test_definitions_import_nothing_heavy(with_definitions) -> None:
    assert with_definitions[0] == []


def test_nothing_stays_frozen_when_a_process_ends(with_definitions) -> None:
    _, loaded, ended = with_definitions
    assert loaded > 0
    assert ended == 0


def test_no_module_is_longer_than_one_can_hold_in_mind() -> None:
    long = {str(path): len(path.read_text().splitlines()) for path in modules("ml", "orchestration")}
    assert {path: lines for path, lines in long.items() if lines > 600} == {}


def test_a_prefix_that_three_modules_share_is_a_folder() -> None:
    shared: dict[tuple[Path, str], list[str]] = defaultdict(list)
    for path in modules("ml", "orchestration"):
        if not path.stem.startswith("__"):
            shared[path.parent, path.stem.split("_")[0]].append(path.stem)
    assert {where: names for where, names in shared.items() if len(names) > 2} == {}
