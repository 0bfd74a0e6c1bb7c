"""raw2rank in code: the names of the library that a notebook or a script starts from.

>>> import raw2rank
>>> raw2rank.BASELINES["most_popular"].title
'Most popular'

Each name is imported when it is first used, so that ``import raw2rank`` needs neither torch nor anything else that is
slow to load. Everything else is in the modules of ``ml``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.baselines.registry import BASELINES
    from ml.data.training_set import TrainingSet
    from ml.evaluation.entry import Entry
    from ml.evaluation.leaderboard import build_leaderboard
    from ml.evaluation.metrics import user_metrics
    from ml.evaluation.rankings import rank
    from ml.release.bundle import load
    from ml.training.recipe import load_recipe
    from ml.training.sequential_recommender import SequentialRecommender

__all__ = [
    "BASELINES",
    "Entry",
    "SequentialRecommender",
    "TrainingSet",
    "build_leaderboard",
    "load",
    "load_recipe",
    "rank",
    "user_metrics",
]

_MODULES = {
    "BASELINES": "ml.baselines.registry",
    "Entry": "ml.evaluation.entry",
    "SequentialRecommender": "ml.training.sequential_recommender",
    "TrainingSet": "ml.data.training_set",
    "build_leaderboard": "ml.evaluation.leaderboard",
    "load": "ml.release.bundle",
    "load_recipe": "ml.training.recipe",
    "rank": "ml.evaluation.rankings",
    "user_metrics": "ml.evaluation.metrics",
}

# what needs torch, which the extra `train` installs
_TRAINED = frozenset({"SequentialRecommender"})


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _TRAINED:
        from ml.extras import require

        require("train", f"raw2rank.{name}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
