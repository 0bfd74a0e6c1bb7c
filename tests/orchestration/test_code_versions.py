"""The code version changes with the code an asset runs, and with nothing else."""

from pathlib import Path

import pytest

from orchestration import code_versions


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(code_versions, "REPOSITORY", tmp_path)
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "low.py").write_text("def low():\n    return 1\n")
    (folder / "high.py").write_text('"""Prose."""\n\nfrom ml.low import low\n\n\ndef high():\n    return low()\n')
    (folder / "other.py").write_text("OTHER = 1\n")
    return folder


def version(*modules: str) -> str:
    for cached in (code_versions._tree, code_versions._digest, code_versions._imports):
        cached.cache_clear()
    return code_versions.code_version(*modules)


def test_prose_does_not_count(library: Path) -> None:
    before = version("ml.high")
    (library / "high.py").write_text(
        '"""Other."""\n\n# said\nfrom ml.low import low\n\n\ndef high():\n    return low()\n'
    )
    assert version("ml.high") == before


def test_a_change_in_what_is_imported_counts(library: Path) -> None:
    before = version("ml.high")
    (library / "low.py").write_text("def low():\n    return 2\n")
    assert version("ml.high") != before


def test_a_change_elsewhere_does_not_count(library: Path) -> None:
    before = version("ml.high")
    (library / "other.py").write_text("OTHER = 2\n")
    assert version("ml.high") == before


def test_a_module_that_does_not_exist_is_named(library: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"ml\.absent"):
        version("ml.absent")


@pytest.fixture(autouse=True)
def forget():
    yield
    for cached in (code_versions._tree, code_versions._digest, code_versions._imports):
        cached.cache_clear()
