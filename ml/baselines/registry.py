"""The baselines by name, in the order in which tables list them.

A baseline is one module of this package: a class of the form of :class:`ml.recommender.Recommender`, and a
``REGISTERED`` (:mod:`ml.registry`) that describes it. What it needs is named in ``needs``: ``item_text`` where ``fit``
reads the text of the items, ``text_vectors`` where it reads the vectors of these texts too, ``seed`` where its rankings
are drawn, ``chosen`` where it runs only when it is chosen, by name or by the set ``knowledge``, and ``als``
where it needs that extra: it is then in no set, so that a set runs where the extra is not installed.
"""

from __future__ import annotations

from pathlib import Path

from ml.recommender import Recommender
from ml.registry import Registered, registered

ITEM_TEXT = "item_text"
TEXT_VECTORS = "text_vectors"
SEED = "seed"
CHOSEN = "chosen"
ALS = "als"


class Baseline(Registered):
    """A baseline: its description, and how it is made and loaded."""

    @property
    def needs_item_text(self) -> bool:
        """Whether ``fit`` reads ``TrainingSet.item_text``."""
        return ITEM_TEXT in self.needs

    @property
    def needs_text_vectors(self) -> bool:
        """Whether ``fit`` reads the vectors of the item text."""
        return TEXT_VECTORS in self.needs

    @property
    def seeded(self) -> bool:
        """Whether its rankings are drawn with a seed."""
        return SEED in self.needs

    @property
    def always_runs(self) -> bool:
        """Whether it is in every comparison, chosen or not."""
        return CHOSEN not in self.needs

    @property
    def extra(self) -> str | None:
        """The optional dependency that ``fit`` needs, ``None`` where it needs none."""
        return ALS if ALS in self.needs else None

    def create(self, seed: int = 0) -> Recommender:
        """A recommender to be fitted; ``seed`` matters only where :attr:`seeded` is true."""
        return self.resolve()(seed=seed) if self.seeded else self.resolve()()

    def load(self, folder: Path) -> Recommender:
        """Read what the recommender's ``save`` wrote."""
        return self.resolve().load(folder)


BASELINES = registered("ml.baselines", Baseline)
# those of every comparison; the others are chosen like models
ALWAYS_RUN = tuple(name for name, baseline in BASELINES.items() if baseline.always_runs)
