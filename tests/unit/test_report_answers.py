"""The section on the answers of language models that re-rank: sentences, tables, a chart, and where they are read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from report_contents import answer_facts, made_up_content, write_made_up_lake

from ml.data.files import DamagedFile
from ml.recommenders.answer_facts import Bounded
from ml.reports.collect.report import collect
from ml.reports.content.answers import Answers
from ml.reports.render.html import render_html
from ml.reports.render.markdown import report as markdown
from ml.reports.render.markdown.model_card import model_card
from ml.reports.words import answers as words

pytestmark = pytest.mark.usefixtures("empty_drawings")

SPACE = "\N{NO-BREAK SPACE}"
ONE = Answers("Re-ranked", "Small", answer_facts())


def test_what_was_measured_is_told_in_sentences():
    assert words.sentences(ONE) == (
        "Re-ranked: tiny-instruct was asked about the first 4 items of Small for 150 of 4,000 test users: 450 "
        "different questions of the form “recency”, each list in 3 random orders. The budget of tokens was spent "
        "before 12 more test users could be asked about.",
        f"Its answers rank 97.2{SPACE}% of the candidates; 7 entries are no candidates, 2 numbers are wrong and "
        "1 candidate is named again.",
        "Candidates that the prompt shows early are ranked higher (Spearman’s correlation +0.3100; +0.2500 to "
        "+0.3700).",
        "No difference to Small in how high popular candidates are ranked was found (difference of Spearman’s "
        "correlations −0.0500; −0.1200 to +0.0200).",
        "Over these test users it is not significantly different from Small: nDCG@10 0.0512 and 0.0498 (+0.0014; "
        f"−0.0021 to +0.0049; p{SPACE}={SPACE}0.43, a single test).",
        "120,000 tokens were read and 9,000 written; at the prices of the recipe that is 0.42.",
    )


def test_findings_follow_their_intervals():
    facts = replace(
        answer_facts(),
        position=Bounded(-0.1, -0.2, -0.01, 9),
        popularity_difference=Bounded(0.2, 0.1, 0.3, 9),
        p_value=0.01,
        ndcg_difference=Bounded(-0.1, -0.2, -0.01, 9),
        tokens_counted=False,
        cost=None,
    )
    told = " ".join(words.sentences(replace(ONE, facts=facts)))
    assert "shows late are ranked higher" in told
    assert "Popular candidates are ranked higher than by Small" in told
    assert "significantly worse than Small" in told
    assert told.endswith("9,000 written at most; the server did not count all of them.")
    none = replace(facts, position=Bounded(0.1, -0.1, 0.3, 9), popularity_difference=None, ndcg=None)
    told = " ".join(words.sentences(replace(ONE, facts=none)))
    assert "No bias for the place in the prompt was found" in told
    assert "Popular" not in told
    assert "nDCG" not in told


def test_where_nothing_was_asked_there_is_one_sentence():
    facts = replace(
        answer_facts(),
        **dict.fromkeys(("asked", "behind_budget", "questions", "shown", "valid", "missing", "unusable"), 0),
        **dict.fromkeys(("position", "popularity", "popularity_of_part", "popularity_difference", "first"), None),
        **dict.fromkeys(("first_of_part", "first_of_targets", "ndcg", "ndcg_of_part", "ndcg_difference"), None),
        rank_by_place=(None,) * 4,
    )
    nothing = replace(ONE, facts=facts)
    (sentence,) = words.sentences(nothing)
    assert "for 0 of 4,000 test users" in sentence
    assert len(words.tables((nothing,))) == 1
    assert words.chart((nothing,)) is None


def test_places_that_were_never_ranked_are_not_drawn():
    drawn = words.chart((replace(ONE, facts=replace(answer_facts(), rank_by_place=(1.5, None, 2.5))),))
    assert drawn is not None
    assert (drawn.lines[0].x, drawn.lines[0].y) == ((1.0, 3.0), (1.5, 2.5))


def test_is_collected_from_what_the_rankings_left(tmp_path):
    write_made_up_lake(tmp_path)
    assert collect(tmp_path, "Made_Up").answers == ()
    path = tmp_path / "rankings" / "tower.answers.json"
    path.write_text(json.dumps(answer_facts().as_json()))
    (found,) = collect(tmp_path, "Made_Up").answers
    assert (found.title, found.part_title, found.facts) == ("Tower", "small", answer_facts())
    path.write_text("{}")
    with pytest.raises(DamagedFile, match="answers"):
        collect(tmp_path, "Made_Up")


def test_the_section_is_on_the_page_and_in_the_model_card():
    content = made_up_content()
    page = render_html(content)
    assert '<a href="#answers">' in page
    assert "answers-chart" in page
    assert "What sways the answers" in page
    assert 'id="answers"' not in render_html(replace(content, answers=()))
    card = model_card(content)
    assert "### Answers of language models" in card
    assert "Answers of language models" not in model_card(replace(content, answers=()))
    assert "Whether the answers could be used" in markdown.answers(content.answers)
