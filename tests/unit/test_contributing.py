"""CONTRIBUTING.md: every path, make target and name in it exists, and its example works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from recommender_factories import made_up_training_set

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
# of the environment, and of what a reader adds
_NOT_THERE = (".venv", "baselines/last_two", "rankings/last_two", "tests/unit/test_audit_")
_PATHS = sorted(
    path for path in set(re.findall(r"[\w.]+(?:/[\w.]+)+/?|\b\w+\.md\b", PAGE)) if not path.startswith(_NOT_THERE)
)


@pytest.mark.parametrize("path", _PATHS)
def test_every_path_exists(path: str) -> None:
    assert (REPOSITORY / path.rstrip(".")).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.MULTILINE))))
def test_every_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("ml/objectives/build.py", ("Objective",)),
        ("orchestration/assets/audits.py", ("Material", "_READ_FROM")),
        ("ml/audits/registry.py", ("ARGUMENTS",)),
        ("ml/data/sources/description.py", ("LAYOUTS",)),
        ("ml/data/sources/names.py", ("_PLAIN_NAMES", "dataset_of")),
        ("ml/data/sources/recognise.py", ("_unit",)),
        ("ml/data/landing/schema.py", ("LineReader",)),
        ("tests/unit/test_contracts.py", ("GOOD", "BAD")),
        ("ml/codes/registry.py", ("Method",)),
        ("ml/text/encoder.py", ("TextEncoder",)),
    ],
)
def test_every_name_is_where_the_page_says(path: str, names: tuple[str, ...]) -> None:
    code = (REPOSITORY / path).read_text()
    for name in names:
        assert f"`{name}`" in PAGE
        assert re.search(rf"^(?:def |class )?{name}\b", code, re.MULTILINE), name


def test_the_baseline_of_the_page_ranks_saves_and_loads(tmp_path: Path) -> None:
    block = re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]
    names: dict = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    assert names["REGISTERED"].name == names["LastTwo"].name
    training_set = made_up_training_set()
    histories = training_set.histories("test")
    fitted = names["LastTwo"]().fit(training_set)
    found = fitted.recommend(histories, 5, exclude_seen=False)
    for row in range(len(histories)):
        wanted = list(dict.fromkeys(histories[row][::-1].tolist()))[:2]
        assert found.items[row, : len(wanted)].tolist() == wanted
        assert len(set(found.items[row].tolist())) == 5
    fitted.save(tmp_path)
    np.testing.assert_array_equal(names["LastTwo"].load(tmp_path).recommend(histories, 5, False).items, found.items)


def test_the_hooks_run_the_versions_of_the_lock() -> None:
    import yaml

    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format", "sqlfluff-lint", "mypy"]
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)
