"""README and docs: every relative link, anchor and picture leads somewhere, and every page is in the site."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import raw2rank
from ml.baselines.registry import BASELINES, Baseline
from ml.recommender import Recommender
from ml.release.bundle import Bundle, Lists
from ml.training.recipe import RECIPES

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *DOCS.glob("*.md"),
        *REPOSITORY.glob("data_contracts/*.md"),
        *REPOSITORY.glob("benchmarks/*.md"),
    ]
)
_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\]\(<?([^)\s>]+)>?(?: +\"[^\"]*\")?\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, which names a function, without importing it."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def links_of(text: str) -> list[str]:
    """Targets of the links and pictures of a page, those in code left out."""
    text = _CODE.sub(lambda code: "`" * 2, _FENCE.sub("", text))
    return _LINK.findall(text) + [target for _, target in _PICTURE.findall(text)]


def anchor_of(heading: str) -> str:
    """The anchor that GitHub, and the site, give a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors_of(page: Path) -> frozenset[str]:
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        anchor = anchor_of(heading)
        again = sum(known == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", known) is not None for known in found)
        found.append(f"{anchor}-{again}" if again else anchor)
    return frozenset(found)


def dead_links(page: Path, inside: Path) -> list[str]:
    """Relative links of a page that lead nowhere, or out of the folder that they must stay in."""
    dead = []
    for target in links_of(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        to = (page.parent / path).resolve() if path else page
        reachable = to.is_relative_to(inside) and to.exists()
        if not reachable or (anchor and (to.suffix != ".md" or anchor not in anchors_of(to))):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_link_is_dead(page: Path) -> None:
    # the site holds only docs/, so a link of a page there may not leave it
    assert dead_links(page, DOCS if page.parent == DOCS else REPOSITORY) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `name` & more\n\n## Twice\n\n## Twice\n\n```sh\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#a-name--more) [b](other.md#twice-1) [c](https://example.org/x) `[code](nowhere.md)` [d](#here)\n"
        "```\n[fenced](nowhere.md)\n```\n## Here\n"
        "[e](other.md#twice-2) [f](other.md#no-heading) [g](missing.md) [h](#gone) ![i](picture.png) [j](../page.md)\n"
        "[![k](badge.svg)](there.md)\n"
    )
    dead = ["other.md#twice-2", "other.md#no-heading", "missing.md", "#gone", "picture.png", "../page.md"]
    assert sorted(set(dead_links(page, tmp_path))) == sorted([*dead, "badge.svg", "there.md"])


def test_every_picture_has_a_description_and_every_picture_is_shown() -> None:
    shown = {}
    for page in PAGES:
        for description, target in _PICTURE.findall(page.read_text(encoding="utf-8")):
            assert description, f"{page.name}: {target}"
            shown[(page.parent / target).resolve()] = page
    assert sorted(shown) == sorted((DOCS / "images").iterdir())


def test_every_page_is_in_the_site_once() -> None:
    site = yaml.load((DOCS / "site" / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_Loader)
    listed = [
        page if isinstance(page, str) else next(iter(page.values()))
        for part in site["nav"]
        for pages in part.values()
        for page in pages
    ]
    assert sorted(listed) == sorted(page.name for page in DOCS.glob("*.md"))


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {target.partition("#")[0] for target in links_of((REPOSITORY / "README.md").read_text(encoding="utf-8"))}
    # reached from the page of their topic
    further = {"docs/index.md", "docs/sources_json.md", "docs/sources_presets.md"}
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} - linked == further


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_every_recommender_is_described_and_no_other() -> None:
    page = (DOCS / "recommenders.md").read_text(encoding="utf-8")
    described = {
        name for cell in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`([\w.]+)`", cell)
    }
    # recipes of codes and of teacher lists are no recommenders
    files = {path.stem for path in RECIPES.rglob("*.toml") if path.parent.name not in ("codes", "teacher_lists")}
    assert described == {*BASELINES, *(name for name in files if not name.endswith("_ml1m"))}


def test_the_architecture_names_every_folder_and_only_what_exists() -> None:
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?)`", (DOCS / "architecture.md").read_text(encoding="utf-8")))
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []
    packages = {f"{path.parent.relative_to(REPOSITORY)}/" for path in REPOSITORY.glob("[mo]*/*/__init__.py")}
    assert packages - named == set()


def test_the_architecture_lists_the_layers_from_the_lowest() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [each for each in configuration["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    assert len(contracts) == 2
    for contract in contracts:
        height = -1
        for layer in reversed(contract["layers"]):
            names = [name.strip().replace(".", "/") for name in layer.split("|")]
            rows = [page.index(row) for name in names for row in (f"| `{name}/` |", f"| `{name}.py` |") if row in page]
            assert all(row > height for row in rows), layer
            height = max([height, *rows])


def test_every_public_name_is_in_the_reference() -> None:
    named = re.findall(r"^::: ([\w.]+)\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert all(hasattr(import_module(module), name) for module, name in named)
    objects = {getattr(raw2rank, name) for name in raw2rank.__all__ if name != "BASELINES"}
    described = {*objects, Baseline, Recommender, Bundle, Lists}
    assert {getattr(import_module(module), name) for module, name in named} == described
