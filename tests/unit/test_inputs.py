"""Every input of docs/inputs.md, landed: what is expected of it, and that the page says what a run says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from inputs.entry import Input
from inputs.page import PAGE, page
from inputs.registry import INPUTS
from inputs.run import Outcome, outcome

_FOUND: dict[str, Outcome] = {}


def found(entry: Input) -> Outcome:
    if entry.id not in _FOUND:
        _FOUND[entry.id] = outcome(entry)
    return _FOUND[entry.id]


def sentences(outcomes: Outcome) -> Iterator[str]:
    yield outcomes.refusal
    yield from outcomes.warns
    yield from (finding for _, finding in outcomes.stops)


@pytest.mark.parametrize("entry", INPUTS, ids=lambda entry: entry.id)
def test_what_happens_to_an_input(entry: Input):
    result = found(entry)
    for sentence in sentences(result):
        assert "Traceback" not in sentence
        assert "\n" not in sentence
        assert "/dumps" not in sentence, "the page names no path of a machine"
    if entry.rows is None:
        assert entry.refused, "an input is read into rows, or refused with a sentence"
        assert entry.refused in result.refusal
        return
    assert result.refusal == ""
    assert len(result.rows) == entry.rows
    if entry.kept is not None:
        assert sorted(result.rows, key=str) == sorted(entry.kept, key=str)
    assert dict(result.rejects) == dict(entry.rejects)
    assert len(result.warns) == len(entry.warns), result.warns
    for part, warning in zip(entry.warns, result.warns, strict=True):
        assert part in warning
    assert [rule for rule, _ in result.stops] == list(entry.stops)
    assert result.items == entry.items


def test_no_title_stands_twice():
    ids = [entry.id for entry in INPUTS]
    assert len(set(ids)) == len(ids)


def test_the_page_says_what_the_run_says():
    assert PAGE.read_text() == page({entry.id: found(entry) for entry in INPUTS}), "run python -m tests.inputs"
