"""The code version changes with the code an asset runs, and with nothing else."""

from importlib import metadata
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
    forget_all()
    return code_versions.code_version(*modules)


def forget_all() -> None:
    for cached in ("_file", "_module", "_imports", "_known", "library_version", "_packages"):
        getattr(code_versions, cached).cache_clear()
    code_versions._seen.clear()


def test_prose_does_not_count(library: Path) -> None:
    before = version("ml.high")
    (library / "high.py").write_text(
        '"""Other."""\n\n# said\nfrom ml.low import low\n\n\ndef high():\n    return low()\n'
    )
    assert version("ml.high") == before


def test_how_a_module_describes_itself_does_not_count(library: Path) -> None:
    (library / "registry.py").write_text("class Registered: ...\n")
    described = (
        'from ml.registry import Registered\n\nREGISTERED = Registered(title="{}")\n\n\ndef low():\n    return 1\n'
    )
    (library / "low.py").write_text(described.format("Low"))
    before = version("ml.high")
    (library / "low.py").write_text(described.format("Lower"))
    (library / "registry.py").write_text("class Registered:\n    rank = 1\n")
    assert version("ml.high") == before
    (library / "low.py").write_text(described.format("Low").replace("return 1", "return 2"))
    assert version("ml.high") != before


def test_a_change_in_what_is_imported_counts(library: Path) -> None:
    before = version("ml.high")
    (library / "low.py").write_text("def low():\n    return 2\n")
    assert version("ml.high") != before


def test_a_change_elsewhere_does_not_count(library: Path) -> None:
    before = version("ml.high")
    (library / "other.py").write_text("OTHER = 2\n")
    assert version("ml.high") == before


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    known = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name.replace("-", "_")) or known(name))


@pytest.mark.parametrize(
    ("code", "package", "counts"),
    [
        ("import numpy as np", "numpy", True),
        ("def low():\n    from numpy.linalg import norm", "numpy", True),
        # imported by another name than it is installed by
        ("from sklearn.decomposition import TruncatedSVD", "scikit_learn", True),
        ("import torch", "numpy", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy", "numpy", False),
        ("import tqdm", "tqdm", False),
    ],
)
def test_a_library_counts_where_the_code_uses_it(
    library: Path, monkeypatch: pytest.MonkeyPatch, code: str, package: str, counts: bool
) -> None:
    (library / "low.py").write_text(f"{code}\n")
    before = version("ml.high")
    assert version("ml.high") == before
    installed(monkeypatch, **{package: "99.1"})
    assert (version("ml.high") != before) is counts


def test_another_build_of_the_same_release_is_the_same_library(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (library / "low.py").write_text("import torch\n")
    found = set()
    for build in ("99.1+cpu", "99.1+cu130", "99.1"):
        installed(monkeypatch, torch=build)
        found.add(version("ml.high"))
    assert len(found) == 1


def test_a_library_that_is_not_installed_counts_once_it_is(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (library / "low.py").write_text("import not_there_yet\n")
    before = version("ml.high")
    installed(monkeypatch, not_there_yet="1.0")
    assert version("ml.high") != before


def test_what_was_read_is_remembered_by_content(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("RAW2RANK_HOME", str(home))
    before = version("ml.high")
    code_versions.remember()
    assert not home.exists(), "no workspace is made for it"
    home.mkdir()
    code_versions.remember()
    kept = home / "cache" / "code_versions.json"
    assert kept.is_file()
    monkeypatch.setattr(code_versions, "_parsed", lambda source: pytest.fail("parsed again"))
    assert version("ml.high") == before
    monkeypatch.undo()
    monkeypatch.setenv("RAW2RANK_HOME", str(home))
    monkeypatch.setattr(code_versions, "REPOSITORY", tmp_path)
    (library / "low.py").write_text("def low():\n    return 2\n")
    assert version("ml.high") != before
    for damage in ("{", "[]", ""):
        kept.write_text(damage)
        (library / "low.py").write_text("def low():\n    return 1\n")
        assert version("ml.high") == before


def test_a_module_that_does_not_exist_is_named(library: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"ml\.absent"):
        version("ml.absent")


@pytest.fixture(autouse=True)
def forget():
    yield
    forget_all()
