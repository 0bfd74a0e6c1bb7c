"""Results over time: what is added when, what is comparable, and what the report and the UI say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_contents import board, made_up_content, made_up_run, over_time, row, write_leaderboard

from ml.data.versions import versioned_folder
from ml.release.gate.decision import NO_RELEASE, PROMOTE, REFUSE, UNCHANGED, Decision, Released
from ml.release.over_time import (
    OVER_TIME_FILE,
    OverTimeError,
    Standing,
    advance,
    protocols,
    read_standings,
    standing_of,
)
from ml.reports.render.html import render_html
from ml.reports.render.markdown.model_card import model_card
from ml.reports.words import over_time as words

pytestmark = pytest.mark.usefixtures("empty_drawings")

FIRST, SECOND, THIRD = over_time()
CANDIDATE = Released("c" * 32, "chain", "Chain", "baseline", 9, "t", "train")
CHAMPION = Released("b" * 32, "gone", "Gone", "model", 9, "t", "train")


def add(folder: Path, standing: Standing) -> list[Standing]:
    with versioned_folder(folder) as temporary:
        return advance(folder, standing, temporary)


def test_the_same_again_adds_nothing_and_keeps_its_time(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    add(folder, replace(FIRST, when="yesterday", run="one"))
    before = (folder / OVER_TIME_FILE).read_bytes()
    again = add(folder, replace(FIRST, when="today", run="two", verdict="unchanged"))
    assert [(one.when, one.run, one.verdict) for one in again] == [("yesterday", "one", "promote")]
    assert (folder / OVER_TIME_FILE).read_bytes() == before
    # another release in charge of the same leaderboard is another result: it was promoted or rolled back by hand
    assert len(add(folder, replace(FIRST, release="other"))) == 2


@settings(max_examples=25)
@given(st.lists(st.sampled_from([FIRST, SECOND, THIRD]), max_size=8))
def test_one_result_for_each_change(tmp_path_factory: pytest.TempPathFactory, seen: list[Standing]) -> None:
    folder = tmp_path_factory.mktemp("lake") / "history"
    for standing in seen:
        add(folder, standing)
    changes = [one for place, one in enumerate(seen) if place == 0 or seen[place - 1] != one]
    assert read_standings(folder) == changes


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "other"}', '{"format": "raw2rank-over-time-1", "entries": [1]}']
)
def test_a_record_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / OVER_TIME_FILE).write_text(text)
    with pytest.raises(OverTimeError, match=f"{OVER_TIME_FILE}.*; remove .* to begin anew"):
        read_standings(tmp_path)


@pytest.mark.parametrize(
    ("decision", "in_charge", "ndcg", "release"),
    [
        (Decision(PROMOTE, "", CANDIDATE, None), "Chain", 0.05, "c" * 32),
        (Decision(UNCHANGED, "", CANDIDATE, CANDIDATE), "Chain", 0.05, "c" * 32),
        (Decision(REFUSE, "", CANDIDATE, CHAMPION), "Gone", 0.5, "b" * 32),
        (Decision(REFUSE, "", CANDIDATE, None), None, None, ""),
        (Decision(NO_RELEASE, ""), None, None, ""),
        (None, None, None, ""),
    ],
)
def test_what_is_in_charge_follows_from_the_decision(
    tmp_path: Path, decision: Decision | None, in_charge: str | None, ndcg: float | None, release: str
) -> None:
    path = tmp_path / "leaderboard.parquet"
    write_leaderboard(board(row("tower", True, 0.06), row("chain", False, 0.05)), path)
    import pyarrow.parquet as pq

    cases = pa.table({"user_index": [0, 1, 2, 3], "champion": [0.0, 0.5, 0.5, 1.0]})
    found = standing_of(pq.read_table(path), "digest", decision, cases, 900, "0.2.0")
    assert found.best.ndcg == pytest.approx(0.06)
    assert found.best.low is not None
    assert found.release == release
    assert (found.in_charge and found.in_charge.title) == in_charge
    assert (found.in_charge and found.in_charge.ndcg) == (pytest.approx(ndcg) if ndcg is not None else None)
    if in_charge == "Gone":
        assert found.in_charge.low < 0.5 < found.in_charge.high
        assert standing_of(pq.read_table(path), "", decision, None, 1, "").in_charge.ndcg is None


def test_a_change_of_the_protocol_is_marked_and_not_drawn_across() -> None:
    assert protocols(over_time()) == [1, 1, 2]
    told = [cells[6] for cells in words.table(over_time()).rows]
    assert told == ["k-core: 5 → 3; data; code", "data", ""]
    drawn = words.chart(over_time())
    assert {line.title: line.x for line in drawn.lines} == {
        "best of the leaderboard, protocol 1": (1.0, 2.0),
        "best of the leaderboard, protocol 2": (3.0,),
        "in charge, protocol 1": (1.0, 2.0),
        "in charge, protocol 2": (3.0,),
    }
    assert words.OTHER_PROTOCOL in words.introduction(over_time())
    assert words.OTHER_PROTOCOL not in words.introduction([FIRST, SECOND])
    assert words.chart([FIRST]) is None


def test_data_and_code_of_each_result_are_told_shortly() -> None:
    unclean = replace(SECOND, code="0.2.0, commit 12277fe0a1b2 with changes")
    table = words.origins_table([FIRST, unclean], [("2024-03-15T03:00:00+00:00", "03" * 16)] * 2)
    assert table.columns[-3:] == ("Code", "Made (UTC)", "Run")
    assert [row[4:] for row in table.rows] == [
        ("0.2.0, commit 12277fe with changes", "2024-03-15 03:00", "03030303"),
        ("0.2.0", "2024-03-15 03:00", "03030303"),
    ]
    assert words.origins_table([FIRST]).columns[-1] == "Code"


def test_the_clock_is_no_part_of_the_content() -> None:
    content = made_up_content()
    assert all(one == one.timeless() for one in content.over_time)
    page = render_html(content)
    assert 'href="#over-time"' in page
    assert "2024-04-15" not in page
    assert "2024-04-15" in render_html(content, made_up_run())
    assert 'id="over-time"' not in render_html(replace(content, over_time=()))
    assert "### Over time" in model_card(content)
