"""What all tests share: small recipes in place of the published ones, and a quiet, offline environment.

Set before anything of the project is imported, because the asset graph is built from the recipes at import.
"""

import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import computed_once
import hypothesis
import pytest
from costs import Costs
from drawings import draw_nothing

os.environ["RAW2RANK_RECIPES"] = str(Path(__file__).parent / "recipes")
os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "agg")
# several workers with several threads each on few cores: threads that wait must not keep the others from working
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# every worker, and every process that a test starts, imports the same files: one compiles them, the others read that
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the files of tests/golden anew")
    parser.addoption("--costs", type=int, help="print the so many tests, files and folders that cost most processor")
    parser.addoption("--screenshots", help="folder for the pictures of the walk through the UI, as docs/images")


def pytest_configure(config: pytest.Config) -> None:
    if lines := config.getoption("--costs"):
        config.pluginmanager.register(Costs(lines))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with a file of tests/golden, or writes the file where pytest was called with --update-golden.

    The files hold all that a renderer prints of made-up content: read the difference before it is committed.
    """

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8", newline="\n")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == expected, f"{name} differs: where that is right, run this test with --update-golden"

    return check


def pytest_collection_finish() -> None:
    computed_once.remember()
    # modules and tests are never garbage, and would be looked through by every collection, each time for seconds
    gc.collect()
    gc.freeze()
    # extension modules look for what they have leaked when the interpreter ends
    atexit.register(gc.unfreeze)


# tests that are left out unless they are asked for, by their marker or by name
ON_REQUEST = ("installed", "slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Draw fewer examples where not all are asked for, and leave out what takes long.

    That is run where its marker is in ``-m`` or where the test is named (``file.py::test``).
    """
    if hypothesis.settings.get_current_profile_name() != "thorough":
        draw_fewer_examples(items)
    if any("::" in argument for argument in config.args):
        return
    markers = {marker for marker in ON_REQUEST if marker not in config.getoption("-m")}
    kept, left_out = [], []
    for item in items:
        (left_out if any(map(item.get_closest_marker, markers)) else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


# Machines differ, and so do their loads: an example that takes long is no failure. With the profile `thorough`, that of
# `make test-slow`, a test draws as many examples as it says; otherwise a quarter, and others at each run.
SHARE, FEWEST = 4, 8
hypothesis.settings.register_profile("thorough", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None)
hypothesis.settings.load_profile("quick")


def draw_fewer_examples(items: list[pytest.Item]) -> None:
    """Divide the number of examples of each test, whether it says it or has that of the profile."""
    tests = {id(item.obj): item.obj for item in items if isinstance(item, pytest.Function)}
    for test in filter(hypothesis.is_hypothesis_test, tests.values()):
        said = test._hypothesis_internal_use_settings
        fewer = min(said.max_examples, max(FEWEST, said.max_examples // SHARE))
        test._hypothesis_internal_use_settings = hypothesis.settings(said, max_examples=fewer)


@pytest.fixture
def empty_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings with titles and nothing inside, for tests of the page around them, which they make slow."""
    draw_nothing(monkeypatch)


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Small tensors gain nothing from more threads, and a busy machine makes them wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
