"""What a report says of language models that were asked to re-rank."""

from __future__ import annotations

from dataclasses import dataclass

from ml.recommenders.answer_facts import AnswerFacts


@dataclass(frozen=True)
class Answers:
    """The answers about one re-ranking.

    Attributes:
        title: of the re-ranking.
        part_title: of the recommender whose candidates were asked about.
        facts: what was measured.
    """

    title: str
    part_title: str
    facts: AnswerFacts
