"""Recommenders that need no training beyond counting: the rows every model has to be compared with.

:data:`BASELINES` describes them by name. Importing this package imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ml.recommender import Recommender

_PRIMER = 'Acharya, "A primer on generative recommendation, part 1" (2025), table of training-free baselines'
_TEXT_GRAPH = (
    'TGH-{} of "An Embarrassingly Simple Graph Heuristic Reveals Shortcut-Solvable Benchmarks for Sequential '
    'Recommendation" (arXiv 2605.07125), with TF-IDF and SVD for its text vectors and popularity for its random filling'
)


@dataclass(frozen=True)
class Baseline:
    """What a baseline is, and where its class is found.

    Attributes:
        name: the name used in files, tables and commands.
        title: the name shown to readers.
        description: how it ranks, in a sentence or two.
        needs_item_text: whether ``fit`` reads ``TrainingSet.item_text``.
        needs_text_vectors: whether it reads the vectors of these texts.
        seeded: whether its rankings are drawn with a seed.
        source: where it comes from.
        path: ``module:class``.
    """

    name: str
    title: str
    description: str
    needs_item_text: bool
    seeded: bool
    source: str
    path: str
    needs_text_vectors: bool = False

    @property
    def recommender_class(self) -> Any:
        """The class, imported now: a ``Recommender``, which takes a seed where :attr:`seeded` is true."""
        module, name = self.path.split(":")
        return getattr(import_module(module), name)

    def create(self, seed: int = 0) -> Recommender:
        """A recommender to be fitted; ``seed`` matters only where :attr:`seeded` is true."""
        return self.recommender_class(seed=seed) if self.seeded else self.recommender_class()

    def load(self, folder: Path) -> Recommender:
        """Read what the recommender's ``save`` wrote."""
        return self.recommender_class.load(folder)


_ALL = (
    Baseline(
        name="random",
        title="Random",
        description="Items of the catalogue in random order, every item as likely as any other.",
        needs_item_text=False,
        seeded=True,
        source=_PRIMER,
        path="ml.baselines.random_items:RandomItems",
    ),
    Baseline(
        name="popularity_sampling",
        title="Popularity-weighted sampling",
        description=(
            "Items drawn without replacement, each draw in proportion to the training interactions of the "
            "items left; items without any come last."
        ),
        needs_item_text=False,
        seeded=True,
        source=_PRIMER,
        path="ml.baselines.popularity_sampling:PopularitySampling",
    ),
    Baseline(
        name="most_popular",
        title="Most popular",
        description="The items with the most training interactions, the same for every user.",
        needs_item_text=False,
        seeded=False,
        source="Cremonesi, Koren and Turrin, RecSys 2010, section 3.1 (Top Popular)",
        path="ml.baselines.most_popular:MostPopular",
    ),
    Baseline(
        name="repeat_last",
        title="Repeat last, then most popular",
        description=(
            "The last item of the history first, then the most popular ones. Where seen items are excluded "
            "nothing is left to repeat, and it ranks as the most popular does."
        ),
        needs_item_text=False,
        seeded=False,
        source=_PRIMER,
        path="ml.baselines.repeat_last:RepeatLast",
    ),
    Baseline(
        name="bm25_last_item",
        title="BM25 on the text of the last item",
        description=(
            "Items whose text is most like that of the last item by BM25, with English stop words removed "
            "and words stemmed. The last item itself is a candidate unless seen items are excluded."
        ),
        needs_item_text=True,
        seeded=False,
        source=f"{_PRIMER}; bm25s (Lù, arXiv:2407.03618)",
        path="ml.baselines.bm25_last_item:BM25LastItem",
    ),
    Baseline(
        name="markov_chain",
        title="First-order Markov chain",
        description=(
            "Items that followed the last item most often in the training histories; equal counts, and the "
            "rest of the list, by popularity."
        ),
        needs_item_text=False,
        seeded=False,
        source="Rendle, Freudenthaler and Schmidt-Thieme, WWW 2010 (the chain that is not factorised)",
        path="ml.baselines.markov_chain:MarkovChain",
    ),
    Baseline(
        name="markov_chain_undirected",
        title="First-order Markov chain, undirected",
        description=(
            "Items that stood beside the last item most often in the training histories, before it or after it; equal "
            "counts, and the rest of the list, by popularity. What it has over chance owes nothing to an order of ties."
        ),
        needs_item_text=False,
        seeded=False,
        source="the chain above, on pairs without their order",
        path="ml.baselines.markov_chain:UndirectedMarkovChain",
    ),
    Baseline(
        name="two_hop_graph",
        title="Two-hop item graph",
        description=(
            "Items one or two steps from the last item, and one from the item before it, in the undirected graph of "
            "items that stood side by side in the training histories; the most popular items where it does not reach."
        ),
        needs_item_text=False,
        seeded=False,
        source="the family of item-to-item graphs (arXiv 2605.07125), weights fixed here",
        path="ml.baselines.two_hop_graph:TwoHopGraph",
    ),
    Baseline(
        name="two_hop_graph_decay",
        title="Two-hop item graph with decay",
        description=(
            "Items one or two steps from the last ten items in the same graph, each of the ten weighing 0.6 of the one "
            "after it; the most popular items where it does not reach."
        ),
        needs_item_text=False,
        seeded=False,
        source="the family of item-to-item graphs (arXiv 2605.07125), weights fixed here",
        path="ml.baselines.two_hop_graph:TwoHopGraphDecay",
    ),
    Baseline(
        name="text_graph_last",
        title="Text and graph, last item",
        description=(
            "Of every ten places seven, two and one for items one, two and three steps from the last item along the "
            "transitions of the training histories, each ranked by how much their text is like that of the last item; "
            "then the most popular items."
        ),
        needs_item_text=True,
        seeded=False,
        source=_TEXT_GRAPH.format(1),
        path="ml.baselines.text_graph:TextGraphLast",
        needs_text_vectors=True,
    ),
    Baseline(
        name="text_graph_last_two",
        title="Text and graph, last two items",
        description=(
            "Of every ten places six for items one or two steps from the last item along the transitions of the "
            "training histories and four for those near the item before it, ranked by how much their text is like that "
            "item's; then the most popular items."
        ),
        needs_item_text=True,
        seeded=False,
        source=_TEXT_GRAPH.format(2),
        path="ml.baselines.text_graph:TextGraphLastTwo",
        needs_text_vectors=True,
    ),
)

BASELINES: dict[str, Baseline] = {baseline.name: baseline for baseline in _ALL}
