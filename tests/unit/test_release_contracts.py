"""The bounds of a release as data: what is read, and what is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.release.gate.bounds import BLOCKING, FIRST_RELEASE, NEXT_RELEASE, Limit
from orchestration.contracts.files import FOLDER, ContractError, load_contracts
from orchestration.contracts.release import load_release_contracts

FILES = {
    name: (FOLDER / "release" / f"{name}.yml").read_text(encoding="utf-8") for name in (FIRST_RELEASE, NEXT_RELEASE)
}


def written(folder: Path, before: str = "", after: str = "", name: str = FIRST_RELEASE) -> Path:
    """The contracts of the project, one text in one of them replaced."""
    (folder / "release").mkdir(exist_ok=True)
    assert not before or before in FILES[name]
    for one, text in FILES.items():
        changed = text.replace(before, after, 1) if before and one == name else text
        (folder / "release" / f"{one}.yml").write_text(changed, encoding="utf-8")
    return folder


def line_of(text: str, name: str = FIRST_RELEASE) -> int:
    return next(number for number, line in enumerate(FILES[name].splitlines(), start=1) if text in line)


def test_the_contracts_of_the_project_can_be_read() -> None:
    contracts = load_release_contracts()
    assert set(contracts) == {FIRST_RELEASE, NEXT_RELEASE}
    (first, *_) = contracts[NEXT_RELEASE].bounds
    assert (first.id, first.severity, first.limit) == ("not_less_accurate", BLOCKING, Limit(at_least=-0.05, level=0.05))


def test_they_are_no_rules_about_assets() -> None:
    assert not [contract for contract in load_contracts() if contract.asset.startswith("release/")]


@pytest.mark.parametrize(
    ("before", "after", "at", "says"),
    [
        (
            "measure: size",
            "measure: sizes",
            "measure: size",
            "there is no measure sizes (did you mean size?); there are",
        ),
        ("severity: blocking", "severity: critical", "severity: blocking", "it is 'blocking' or 'warning'"),
        ("at_most: 250", "at_most: fast", "at_most: 250", "at_most is 'fast'; give a number"),
        ("{at_most: 250}", "{at_most: 250, level: 0.05}", "at_most: 250", "no test is made of: leave out level"),
        ("{at_most: 250}", "{}", "at_most: 250", "give either at_least or at_most"),
        ("{at_least: 0, level: 0.05}", "{at_least: 0}", "{at_least: 0, level: 0.05}", "needs the level of its test"),
        ("{at_least: 0, level: 0.05}", "{at_least: 0, level: 5}", "{at_least: 0, level: 0.05}", "level is 5"),
        ("{at_least: 0, level: 0.05}", "{at_most: 0, level: 0.05}", "{at_least: 0, level: 0.05}", "give at_least"),
        ("level: 0.05}", "level: 0.05, test: maybe}", "level: 0.05}", "test is 'maybe'"),
        ("level: 0.05}", "levels: 0.05}", "level: 0.05}", "there is no field levels (did you mean level?)"),
        ("    reason: A list", "    why: A list", "id: better_than_most_popular", "lacks reason"),
        ("id: size_is_bounded", "id: latency_is_bounded", "id: latency_is_bounded", "more than one bound is called"),
        ("id: size_is_bounded", "id: size is bounded", "id: size_is_bounded", "use letters, digits and '_'"),
        ("decision: first_release", "decision: first", "decision: first_release", "the name of the file says"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, before: str, after: str, at: str, says: str
) -> None:
    with pytest.raises(ContractError) as refused:
        load_release_contracts(written(tmp_path, before, after))
    assert str(refused.value).startswith(f"{tmp_path}/release/first_release.yml, line {line_of(at)}: ")
    assert says in str(refused.value)


def test_a_margin_of_everything_is_no_margin(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"next_release\.yml, line 6: at_least is a share .* above -1, not -1"):
        load_release_contracts(written(tmp_path, "at_least: -0.05", "at_least: -1", NEXT_RELEASE))


def test_a_file_too_many_or_too_few_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "release" / "third.yml").write_text("decision: third\n")
    with pytest.raises(ContractError, match=r"third\.yml: .* move the bounds"):
        load_release_contracts(tmp_path)
    (tmp_path / "release" / "third.yml").unlink()
    (tmp_path / "release" / "next_release.yml").write_text("a: [b")
    with pytest.raises(ContractError, match=r"next_release\.yml: not YAML"):
        load_release_contracts(tmp_path)
    (tmp_path / "release" / "next_release.yml").unlink()
    with pytest.raises(ContractError, match=r"next_release\.yml is missing"):
        load_release_contracts(tmp_path)
