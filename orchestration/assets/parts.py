"""What assets that are made of other recommenders have in common: what these, and the asset itself, read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ml.baselines.registry import BASELINES
from ml.recommenders.registry import any_reads_times, layer_of


@dataclass(frozen=True)
class Inputs:
    """What an asset of several recommenders reads.

    Attributes:
        deps: keys of the assets.
        with_text: whether the item text is among them.
        with_vectors: whether the vectors of the text are.
        with_times: whether the times of interactions are.
        modules: of the baselines among the parts, which are fitted again for the validation users.
    """

    deps: list[list[str]]
    with_text: bool
    with_vectors: bool
    with_times: bool
    modules: tuple[str, ...]


def inputs_of(parts: Iterable[str], reads_text: bool = False) -> Inputs:
    """The inputs of an asset.

    Args:
        parts: names of the recommenders that it is made of, each once.
        reads_text: whether the asset itself reads the item text and its vectors.
    """
    parts = list(parts)
    counted = [BASELINES[part] for part in parts if part in BASELINES]
    with_text = reads_text or any(part.needs_item_text for part in counted)
    with_vectors = reads_text or any(part.needs_text_vectors for part in counted)
    with_times = any_reads_times(parts)
    deps = [
        *([layer_of(part), part] for part in parts),
        ["training_sets", "sequences"],
        ["settings", "fit"],
        ["settings", "ranking"],
        ["settings", "training"],
    ]
    deps += [["training_sets", "item_text"]] if with_text else []
    deps += [["training_sets", "text_vectors"]] if with_vectors else []
    deps += [["training_sets", "times"]] if with_times else []
    return Inputs(deps, with_text, with_vectors, with_times, tuple(part.module for part in counted))
