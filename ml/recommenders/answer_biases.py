"""Measuring the answers of a language model: whether they can be used, what sways them, and what they took.

Two biases after Hou et al. (ECIR 2024, arXiv 2305.08845): a candidate may be ranked higher because the prompt shows it
early, or because it is popular.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import bootstrap_interval
from ml.evaluation.metrics import ndcg_of_lists
from ml.evaluation.rankings import BLOCK, rank_depth
from ml.evaluation.significance import SeedValues, paired_test
from ml.recommenders.answer_facts import AnswerFacts, Bounded
from ml.recommenders.prompted_reranking import Asked, PromptedReranking, Turn

CUT_OFF = 10
# below this many candidates a correlation of ranks says nothing
_LEAST = 3


def measure_answers(
    recommender: PromptedReranking, training_set: TrainingSet, exclude_seen: bool, seed: int = 0
) -> AnswerFacts:
    """Measure the answers about the test users. Those that were asked about before come from the cache.

    Args:
        recommender: fitted.
        training_set: whose test histories are asked about; test targets are read for nDCG, and for the popularity of
            targets, alone.
        exclude_seen: as for the rankings.
        seed: of the intervals.

    Raises:
        NoAnswer: the model does not answer.
    """
    recipe, histories = recommender.recipe, training_set.histories("test")
    drawn: list[Asked] = []
    # the blocks in which the rankings were made, so that the same questions are asked in the same order
    for start in range(0, len(histories), BLOCK):
        rows = histories.take(np.arange(start, min(start + BLOCK, len(histories))))
        found = recommender.ask(rows, recommender.candidates(rows, rank_depth(training_set.items), exclude_seen))
        drawn += [replace(each, row=start + each.row) for each in found]
    asked = [each for each in drawn if each.turns]
    # equal histories have equal questions, which are asked once
    turns = list({turn.prompt: turn for each in asked for turn in each.turns}.values())
    read, written = (sum(getattr(turn.answer, name) for turn in turns) for name in ("tokens_read", "tokens_written"))
    prices = (recipe.price_of_a_million_read, recipe.price_of_a_million_written)
    return AnswerFacts(
        of=recipe.of,
        model=recommender.model,
        prompt=recipe.prompt,
        candidates=recipe.candidates,
        shuffles=recipe.shuffles,
        cases=len(histories),
        asked=len(asked),
        behind_budget=len(drawn) - len(asked),
        questions=len(turns),
        shown=sum(turn.reading.shown for turn in turns),
        valid=sum(len(turn.reading.order) for turn in turns),
        missing=sum(turn.reading.missing for turn in turns),
        hallucinated=sum(turn.reading.hallucinated for turn in turns),
        wrong_numbers=sum(turn.reading.wrong_numbers for turn in turns),
        repeated=sum(turn.reading.repeated for turn in turns),
        unusable=sum(not turn.reading.order for turn in turns),
        tokens_read=read,
        tokens_written=written,
        tokens_counted=all(turn.answer.counted for turn in turns),
        cost=(read * prices[0] + written * prices[1]) / 1e6 if any(prices) else None,
        position=_bounded([_position_bias(each) for each in asked], seed),
        rank_by_place=_rank_by_place(turns, recipe.candidates),
        **_popularity_facts(asked, training_set.test_targets, recommender.counts, seed),
        **_accuracy_facts(asked, training_set),
    )


def _popularity_facts(asked: Sequence[Asked], targets: np.ndarray, counts: np.ndarray, seed: int) -> dict[str, Any]:
    by_model = np.array([_popularity_bias(counts[each.ranked()]) for each in asked])
    by_part = np.array([_popularity_bias(counts[each.candidates]) for each in asked])
    first = [
        [
            _percentile(counts, each.candidates, item)
            for item in (each.ranked()[0], each.candidates[0], targets[each.row])
        ]
        for each in asked
    ]
    of_model, of_part, of_targets = np.array(first).reshape(-1, 3).T
    return {
        "popularity": _bounded(by_model, seed),
        "popularity_of_part": _bounded(by_part, seed),
        "popularity_difference": _bounded(by_model - by_part, seed),
        "first": _bounded(of_model, seed),
        "first_of_part": _bounded(of_part, seed),
        "first_of_targets": _bounded(of_targets, seed),
    }


def _accuracy_facts(asked: Sequence[Asked], training_set: TrainingSet) -> dict[str, Any]:
    if len(asked) < 2:
        return dict.fromkeys(("ndcg", "ndcg_of_part", "ndcg_difference", "p_value"))
    rows = np.array([each.row for each in asked])
    reached = ndcg_of_lists(np.array([each.reordered()[:CUT_OFF] for each in asked]), training_set, rows)
    came = ndcg_of_lists(np.array([each.came[:CUT_OFF] for each in asked]), training_set, rows)
    test = paired_test(SeedValues.of_one_seed(reached), SeedValues.of_one_seed(came))
    difference = test.interval()
    return {
        "ndcg": float(reached.mean()),
        "ndcg_of_part": float(came.mean()),
        "ndcg_difference": Bounded(difference.mean, difference.low, difference.high, len(asked)),
        "p_value": test.p_value,
    }


def _position_bias(asked: Asked) -> float:
    """Correlation of place and given rank, a mean over the questions; nan where it is undefined."""
    found = []
    for turn in asked.turns:
        # the order in which an answer names places is the order of their ranks
        named = np.array(turn.reading.order)
        if len(named) >= _LEAST:
            found.append(spearmanr(named, np.arange(len(named))).statistic)
    return float(np.mean(found)) if found else np.nan


def _rank_by_place(turns: Sequence[Turn], places: int) -> tuple[float | None, ...]:
    """Mean rank of what stands at each place of the prompts, of those that are ranked."""
    ranks: list[list[float]] = [[] for _ in range(places)]
    for turn in turns:
        for rank, place in enumerate(turn.reading.order, start=1):
            ranks[place].append(rank)
    return tuple(float(np.mean(found)) if found else None for found in ranks)


def _popularity_bias(counts: np.ndarray) -> float:
    """Correlation of popularity with the height in a list; nan where it is undefined.

    Args:
        counts: popularity of the items of a list, best first.
    """
    if len(counts) < _LEAST or (counts == counts[0]).all():
        return np.nan
    return float(spearmanr(counts, -np.arange(len(counts))).statistic)


def _percentile(counts: np.ndarray, candidates: np.ndarray, item: int) -> float:
    """Share of the other candidates that are less popular than one, half of the equally popular ones included; nan for
    an item that is no candidate."""
    if item not in candidates:
        return np.nan
    others = counts[candidates[candidates != item]]
    return float((others < counts[item]).mean() + (others == counts[item]).mean() / 2)


def _bounded(values: Sequence[float] | np.ndarray, seed: int) -> Bounded | None:
    """Mean and bootstrap interval of what is defined; ``None`` where nothing is."""
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return None
    found = bootstrap_interval(defined, seed)
    return Bounded(found.mean, found.low, found.high, len(defined))
