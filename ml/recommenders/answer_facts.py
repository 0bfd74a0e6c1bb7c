"""What the answers of a language model that re-ranks were worth: what is measured of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Bounded:
    """A mean over histories with its 95 % interval.

    Attributes:
        mean: over the histories for which it is defined.
        low: of the interval.
        high: of the interval.
        histories: for which it is defined.
    """

    mean: float
    low: float
    high: float
    histories: int


@dataclass(frozen=True)
class AnswerFacts:
    """What the answers about the test users were worth.

    Attributes:
        of: name of the recommender that the candidates are of.
        model: name of the language model.
        prompt: form of the prompts.
        candidates: that a prompt shows, at most.
        shuffles: questions about each list.
        cases: test users.
        asked: test users that were asked about.
        behind_budget: test users that were drawn, and not asked about because the budget was spent.
        questions: different ones that were answered, from the cache or by the model.
        shown: candidates in all questions together.
        valid: of these, those that the answer ranked.
        missing: of these, those that it did not name.
        hallucinated: entries of answers that name no candidate.
        wrong_numbers: numbers in answers that no candidate has, or that stand beside the title of another one.
        repeated: candidates that an answer named again.
        unusable: answers that rank no candidate.
        tokens_read: of all questions.
        tokens_written: of all answers.
        tokens_counted: whether the model counted them; otherwise they are the most that there can have been.
        cost: of the tokens at the prices of the recipe, whether they were paid now or before; ``None`` without prices.
        position: Spearman's correlation of the place in the prompt with the rank that the answer gives, a mean over the
            questions about a list. The order of a prompt is random, so without a bias it is 0.
        rank_by_place: mean rank that the answers give to the candidate at each place of a prompt, of those that they
            rank; ``None`` where they rank none.
        popularity: Spearman's correlation of popularity (training interactions) with how high the model ranks a
            candidate; above 0 where popular ones are ranked higher.
        popularity_of_part: the same of the order in which the candidates came.
        popularity_difference: the first less the second, history by history.
        first: mean popularity percentile among the candidates (0 the least popular, 1 the most) of the item that the
            model ranks first.
        first_of_part: the same of the item that came first.
        first_of_targets: the same of the held-out item, for the test users whose candidates hold it.
        ndcg: nDCG@10 of the re-ranked lists of the test users that were asked about.
        ndcg_of_part: the same of the lists as they came.
        ndcg_difference: the first less the second, user by user; a t-interval.
        p_value: of Student's paired t-test of that difference; ``None`` for fewer than two users.
    """

    of: str
    model: str
    prompt: str
    candidates: int
    shuffles: int
    cases: int
    asked: int
    behind_budget: int
    questions: int
    shown: int
    valid: int
    missing: int
    hallucinated: int
    wrong_numbers: int
    repeated: int
    unusable: int
    tokens_read: int
    tokens_written: int
    tokens_counted: bool
    cost: float | None
    position: Bounded | None
    rank_by_place: tuple[float | None, ...]
    popularity: Bounded | None
    popularity_of_part: Bounded | None
    popularity_difference: Bounded | None
    first: Bounded | None
    first_of_part: Bounded | None
    first_of_targets: Bounded | None
    ndcg: float | None
    ndcg_of_part: float | None
    ndcg_difference: Bounded | None
    p_value: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def facts_of_json(values: dict[str, Any]) -> AnswerFacts:
    """What :meth:`AnswerFacts.as_json` gave."""
    bounded = {key: Bounded(**value) for key, value in values.items() if isinstance(value, dict)}
    return AnswerFacts(**(values | bounded | {"rank_by_place": tuple(values["rank_by_place"])}))
