"""python -m ml.training: from files alone, with torch, numpy and safetensors alone, and errors in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from io import StringIO
from pathlib import Path

import pytest
from teaching_toys import ring_lists, student_recipe
from training_toys import fitted, ring_training_set, toy_recipe

from ml.codes.svd import assign_svd_codes
from ml.data.teacher_lists import TeacherLists
from ml.training import log, progress
from ml.training.__main__ import main
from ml.training.log import EpochRecord, GrowingLog, read_log
from ml.training.progress import PlainLines, progress_of, summary
from ml.training.recipe import load_recipe
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

REPOSITORY = Path(__file__).parents[2]
# what torch itself imports is torch's
ALLOWED = """
torch torchgen functorch numpy safetensors ml
typing_extensions sympy mpmath networkx jinja2 markupsafe filelock fsspec packaging setuptools triton nvidia
"""
BLOCKED = f"""
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

ALLOWED = set({ALLOWED.split()!r}) | set(sys.stdlib_module_names)

class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ALLOWED or name.startswith("_sysconfigdata"):
            return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Only()]
from ml.training.__main__ import main
code = main(sys.argv[1:])
assert not {{"tqdm", "tensorboard", "scipy", "pandas", "dagster"}} & set(sys.modules)
sys.exit(code)
"""


@pytest.fixture
def files(tmp_path):
    """A training set, a recipe and codes, as they lie on a host that trains."""
    training_set = ring_training_set(60)
    for name in ("set", "codes"):
        (tmp_path / name).mkdir()
    training_set.save(tmp_path / "set")
    assign_svd_codes(training_set, books=4).save(tmp_path / "codes")
    for name, codes in (("toy", None), ("toy_recjpq", "svd")):
        tables = toy_recipe(codes=codes, training={"max_epochs": 2}).as_tables()
        (tmp_path / f"{name}.toml").write_text(_toml(tables))
    return tmp_path


def _toml(tables: dict) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in tables.items() if not isinstance(value, dict)]
    for name, table in tables.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines)


def _arguments(files: Path, recipe: str = "toy", **options: str) -> list[str]:
    known = {
        "recipe": recipe if "nothing" in recipe else str(files / f"{recipe}.toml"),
        "training-set": str(files / "set"),
        "out": str(files / "out"),
    }
    known |= {"threads": "1"} | {name.replace("_", "-"): value for name, value in options.items()}
    return [word for name, value in known.items() for word in (f"--{name}", value)]


@pytest.mark.slow
def test_it_needs_torch_numpy_and_safetensors_alone(files):
    command = [sys.executable, "-c", BLOCKED, *_arguments(files, "toy_recjpq", codes=str(files / "codes"))]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["folder"] == str(files / "out")
    # tqdm is refused too
    assert "Toy: 100%" in done.stderr
    recipe, training_set = load_recipe(str(files / "toy_recjpq.toml")), ring_training_set(60)
    assert SequentialRecommender.load(files / "out").log == read_log(files / "out" / "training_log.jsonl")
    fresh = fitted(recipe, training_set)
    assert fresh.best_validation_ndcg_at_10 == result["best_validation_ndcg_at_10"]


@pytest.fixture
def lists(files):
    """Teacher lists and a student, beside the files."""
    (files / "lists").mkdir()
    ring_lists(ring_training_set(60)).save(files / "lists")
    tables = student_recipe(training={"max_epochs": 2, "patience": 2}).as_tables()
    (files / "student.toml").write_text(_toml(tables))
    return files / "lists"


def test_a_student_is_trained_on_saved_lists(files, lists, capsys):
    assert main(_arguments(files, "student", teacher_lists=str(lists))) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    student = SequentialRecommender(
        load_recipe(str(files / "student.toml")), execution=Execution(threads=1), teacher_lists=TeacherLists.load(lists)
    ).fit(ring_training_set(60))
    assert student.best_validation_ndcg_at_10 == result["best_validation_ndcg_at_10"]


def test_a_student_without_lists_or_with_other_files_says_so_in_a_line(files, lists, capsys):
    assert main(_arguments(files, "student")) == 1
    assert "this model is taught the lists ring_lists, and none were given" in capsys.readouterr().err
    assert main(_arguments(files, "student", teacher_lists=str(files / "set"))) == 1
    assert "holds no teacher lists (teacher_lists.json)" in capsys.readouterr().err
    assert not (files / "out").exists()


def test_lists_need_pyarrow_and_say_so_in_a_line(files, lists):
    command = [sys.executable, "-c", BLOCKED, *_arguments(files, "student", teacher_lists=str(lists))]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: {lists}: reading teacher lists needs pyarrow: pip install pyarrow"


def test_the_run_is_described(files, capsys):
    assert main([*_arguments(files, fit_on="train+validation", log_to=str(files / "log"), seed="3"), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    result = json.loads(said.out)
    run = json.loads((files / "out" / "training_run.json").read_text())
    assert run["result"]["weights_digest"] == result["weights_digest"]
    assert run["machine"]["device"] == "cpu"
    assert run["machine"]["precision"] == "float32"
    assert (run["machine"]["threads"], run["machine"]["processes"]) == (1, 1)
    assert run["peak_memory_in_bytes"]["process"] > 1 << 26
    assert 0 < run["model"]["share_of_padding"] < 0.5
    assert run["model"]["bytes"] == 4 * result["parameters"]
    assert run["model"]["dense_output_embedding_bytes"] == 4 * 40 * 32
    config = json.loads((files / "out" / "config.json").read_text())
    assert (config["seed"], config["fit_on"]) == (3, "train+validation")
    grown = read_log(files / "log" / "training_log.jsonl")
    assert grown == read_log(files / "out" / "training_log.jsonl")
    assert {record.fit_on for record in grown} == {"train", "train+validation"}


def test_bfloat16_learns_too(files, capsys):
    assert main([*_arguments(files, precision="bfloat16"), "--quiet"]) == 0
    run = json.loads((files / "out" / "training_run.json").read_text())
    assert run["machine"]["precision"] == "bfloat16"
    assert {str(t.dtype) for t in SequentialRecommender.load(files / "out").model.parameters()} == {"torch.float32"}
    log = read_log(files / "out" / "training_log.jsonl")
    assert log[-1].loss < log[0].loss


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "nothing.toml"}, "there is no recipe file nothing.toml"),
        ({"recipe": "nothing"}, "give the path of a .toml file, or one of .*sasrec_sampled_softmax"),
        ({"training_set": "nowhere"}, "nowhere holds no training set"),
        ({"codes": "nowhere"}, "nowhere holds no codes"),
        ({"device": "cuda"}, "use device cpu or auto"),
        ({"threads": "0"}, "threads must be at least 1, not 0"),
        ({"checkpoint_seconds": "-1"}, "checkpoint_seconds must not be negative"),
    ],
)
def test_errors_take_one_line(files, capsys, monkeypatch, options, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(_arguments(files, **options)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert re.search(message, said.err)


def test_a_recipe_without_its_codes(files, capsys):
    assert main(_arguments(files, "toy_recjpq")) == 1
    assert "need codes" in capsys.readouterr().err


def test_plain_lines_say_throughput_and_time_left(monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    said = StringIO()
    lines = PlainLines("Toy", 1000, 100, said)
    now = 105.0
    lines.update(100)
    assert said.getvalue() == ""
    now = 110.0
    lines.update(100)
    assert said.getvalue() == "Toy: 30%, 20 sequences/s, at most 35 s left\n"
    lines.set_postfix_str("epoch 1")
    assert said.getvalue().count("\n") == 1
    lines.close()
    assert said.getvalue().endswith("left, epoch 1\n")


def test_nothing_is_shown_where_nothing_is_wanted(capsys):
    silent = progress_of("Toy", 10, 0, show=False)
    silent.update(5)
    silent.set_postfix_str("half")
    silent.close()
    assert capsys.readouterr() == ("", "")


def test_the_log_grows_for_tensorboard_too(tmp_path, monkeypatch):
    scalars = []

    class Board:
        def __init__(self, folder):
            Path(folder).mkdir()

        def add_scalar(self, name, value, step, walltime):
            scalars.append((name, value, step))

        def flush(self): ...

        def close(self): ...

    module = types.SimpleNamespace(SummaryWriter=Board)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    records = [
        EpochRecord("train", 1, 4, 0.5, 0.1, 1.0, 10.0),
        EpochRecord("train+validation", 1, 4, 0.4, None, 2.0, 9),
    ]
    with GrowingLog(tmp_path, records[:1]) as growing:
        growing.add(records[1])
        assert read_log(tmp_path / "training_log.jsonl") == records
    assert ("validation_ndcg_at_10/train", 0.1, 4) in scalars
    assert ("loss/train+validation", 0.4, 4) in scalars
    assert len(scalars) == 5
    assert log.write_board(records, tmp_path / "again")
    assert len(scalars) == 10


def test_without_tensorboard_the_log_does(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert not log.write_board([], tmp_path / "tensorboard")
    assert list(tmp_path.iterdir()) == []


def test_a_summary_names_the_best_epoch():
    record = EpochRecord("train", 3, 12, 0.5, 0.12345, 1.0, 10.0)
    assert summary(record, 2) == "epoch 3, loss 0.500, validation nDCG@10 0.1235, best epoch so far 2"
