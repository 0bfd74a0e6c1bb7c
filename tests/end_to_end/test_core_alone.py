"""The core without any extra: it makes baselines and their leaderboard, and says what it leaves out and why."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from core_environment import REPOSITORY, make_core_environment

pytestmark = pytest.mark.slow

# in none of the core's requirements, however deep
ABSENT = ("torch", "safetensors", "optuna", "tensorboard", "matplotlib", "transformers", "datasets", "ranx")
SHOP = "user,item,timestamp,rating\n" + "".join(
    f"u{user},i{(user * 7 + step * step) % 30},{1_500_000_000 + 86_400 * step + user},{1 + step % 5}\n"
    for user in range(60)
    for step in range(5 + user % 4)
)
# one process, since loading the definitions takes most of its time
SESSION = """
import importlib.util, io, json, sys
from contextlib import redirect_stderr, redirect_stdout

import raw2rank
from orchestration.commands import check_data, reproduce, run, search

def told(command, *arguments):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = command.main(list(arguments))
    return code, out.getvalue(), err.getvalue()

shop = ("--dataset=shop", "--dumps=data", "--k-core=2")
found = {
    "there": [name for name in %r if importlib.util.find_spec(name)],
    "refused": told(run, *shop, "--recipes=tiny_softmax"),
    "refused audit": told(run, *shop, "--audit-model=tiny_softmax"),
    "refused look": told(check_data, *shop, "--recipes=tiny_softmax"),
    "refused search": told(search, "--dataset=shop", "--recipe=tiny_softmax"),
    "refused reproduction": told(reproduce, "--data=data"),
}
try:
    raw2rank.SequentialRecommender
except ModuleNotFoundError as error:
    found["name"] = str(error)
found["nothing made"] = not __import__("pathlib").Path("workspace/lake").exists()
found["run"] = told(run, *shop)
found["again"] = told(run, *shop)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the session said."""
    folder = tmp_path_factory.mktemp("core")
    python = make_core_environment(folder / "venv")
    (folder / "data").mkdir()
    (folder / "data" / "shop.csv").write_text(SHOP)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAW2RANK_", "DAGSTER_"))}
    environment |= {
        "PYTHONPATH": str(REPOSITORY),
        "PATH": f"{python.parent}{os.pathsep}{environment.get('PATH', '')}",
        "RAW2RANK_HOME": str(folder / "workspace"),
        "RAW2RANK_RECIPES": str(REPOSITORY / "tests" / "recipes"),
    }
    ran = subprocess.run(
        [python, "-c", SESSION % (ABSENT,)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {"folder": folder, **json.loads(ran.stdout.splitlines()[-1])}


def test_nothing_of_the_extras_is_there(found: dict) -> None:
    assert found["there"] == []


@pytest.mark.parametrize(
    ("asked", "code", "what"),
    [
        ("refused", 1, "RECIPES=tiny_softmax"),
        ("refused audit", 1, "AUDIT_MODEL=tiny_softmax"),
        ("refused look", 2, "RECIPES=tiny_softmax"),
        ("refused search", 1, "RECIPE=tiny_softmax"),
        ("refused reproduction", 1, "make reproduce"),
    ],
)
def test_what_needs_torch_is_refused_in_one_sentence(found: dict, asked: str, code: int, what: str) -> None:
    said = f"error: {what} needs torch, which is not installed: pip install 'raw2rank[train]'\n"
    assert found[asked] == [code, "", said]


def test_it_is_refused_before_any_work(found: dict) -> None:
    assert found["nothing made"]


def test_the_name_that_needs_torch_says_so(found: dict) -> None:
    assert found["name"] == (
        "raw2rank.SequentialRecommender needs torch, which is not installed: pip install 'raw2rank[train]'"
    )


def test_baselines_are_compared_and_what_is_left_out_is_named(found: dict) -> None:
    code, out, err = found["run"]
    assert code == 0, err
    assert "models are left out: torch is not installed (pip install 'raw2rank[train]')" in out.splitlines()
    assert "the report is left out: matplotlib is not installed (pip install 'raw2rank[report]')" in out.splitlines()
    assert "Two-hop item graph" in out
    assert "report:" not in out
    lake: Path = found["folder"] / "workspace" / "lake" / "shop"
    assert (lake / "evaluation" / "leaderboard.parquet").is_file()
    assert not (lake / "evaluation" / "report").exists()
    assert not (lake / "models").exists()


def test_a_run_leaves_nothing_to_do(found: dict) -> None:
    code, out, _ = found["again"]
    assert code == 0
    assert "everything is up to date" in out
