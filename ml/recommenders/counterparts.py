"""The plain counterpart of each recommender that adds something: what a comparison of the two shows the worth of."""

from __future__ import annotations

from collections.abc import Iterable

from ml.baselines.registry import BASELINES
from ml.evaluation.what_helps.counterpart import Counterpart
from ml.recommender import BASELINE, LANGUAGE_MODEL, MODEL
from ml.recommenders.registry import Registry
from ml.training.recipe import FAMILIES

NEIGHBOURS = "neighbours"
LANGUAGE_MODELS = "language_models"
# in the order of the report
ALL_FAMILIES = (*FAMILIES, NEIGHBOURS, LANGUAGE_MODELS)
# the baseline that reads ids alone, and the one that reads text alone
_OF_BASELINES = "two_hop_graph"
_OF_LANGUAGE_MODELS = "bm25_last_item"


def counterpart_of(name: str, registry: Registry) -> Counterpart | None:
    """What a recommender is compared with; ``None`` for one that is compared with none in particular.

    - A model whose recipe names a ``plain`` one: with that.
    - A baseline that reads text, and one that runs only where it is chosen: with the two-hop graph, which reads the
      ids of the training histories alone.
    - A language model that re-ranks: with what it re-ranks. Any other one: with BM25 on the text of the last item.

    Raises:
        KeyError: there is no such recommender.
    """
    kind = registry.kind_of(name)
    if kind == MODEL:
        recipe = registry.recipes[name]
        if recipe.family is None or recipe.plain is None:
            return None
        return Counterpart(name, recipe.family, recipe.plain)
    if kind == BASELINE:
        baseline = BASELINES[name]
        family = "text" if baseline.needs_item_text else NEIGHBOURS if not baseline.always_runs else None
        return None if family is None else Counterpart(name, family, _OF_BASELINES)
    if kind == LANGUAGE_MODEL:
        return Counterpart(name, LANGUAGE_MODELS, registry.reranked_by(name) or _OF_LANGUAGE_MODELS)
    return None


def counterparts(names: Iterable[str], registry: Registry) -> tuple[Counterpart, ...]:
    """The counterparts of those recommenders that have one, by family, each family in the order given."""
    found = [one for name in dict.fromkeys(names) if (one := counterpart_of(name, registry)) is not None]
    return tuple(sorted(found, key=lambda one: ALL_FAMILIES.index(one.family)))


def counterparts_of_run(names: Iterable[str], registry: Registry) -> tuple[Counterpart, ...]:
    """As :func:`counterparts`; none where all of them are baselines that every run has."""
    found = counterparts(names, registry)
    return found if any(not _always_runs(one.recommender) for one in found) else ()


def _always_runs(name: str) -> bool:
    return name in BASELINES and BASELINES[name].always_runs
