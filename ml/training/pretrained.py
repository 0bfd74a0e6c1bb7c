"""Weights that were trained on other datasets, as a model starts from them: the folder that they are kept in."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ml.data.files import whole
from ml.data.training_set import TrainingSet
from ml.training.recipe import TEXT_SPACE, Recipe
from ml.training.weights_digest import contiguous, weights_digest

FORMAT = "raw2rank-pretrained-1"
DESCRIPTION = "pretraining.json"
WEIGHTS = "model.safetensors"
# counted from the latest item, so that models that read histories of different lengths can share the last ones
_POSITIONS = "positions"
# all but the item vectors
_ENCODER = ("positions", "blocks.", "norm.")


@dataclass(frozen=True)
class Pretrained:
    """A model of text alone that was trained on other datasets, and the space of its text.

    Attributes:
        weights: by name, as in the state dict of the model; none of them is of an item.
        space: encodes texts as the model reads them (:class:`ml.text.shared_space.TextSpace`).
        recipe: :meth:`~ml.training.recipe.Recipe.pretraining_digest` of the recipe that it was trained for.
        description: seed, sources and length of the training, as JSON values; no times.
    """

    weights: dict[str, Tensor]
    space: Any
    recipe: str
    description: Mapping[str, Any]

    def digest(self) -> str:
        """SHA-256 of the weights and of the space."""
        return hashlib.sha256(f"{weights_digest(self.weights)} {self.space.digest()}".encode()).hexdigest()

    def described(self) -> dict[str, Any]:
        """As JSON values, for the folder of a model that started from it."""
        return {"digest": self.digest(), **self.description}

    def features(self, training_set: TrainingSet) -> dict[str, np.ndarray]:
        """What a model reads of the items, by the argument of ``build_model``.

        Raises:
            ValueError: the training set has no item text, or no text with a word that the space knows.
        """
        if training_set.item_text is None:
            raise ValueError(
                f"this model reads the text of the items, and {training_set.dataset} was loaded without it: add it by "
                "TrainingSet.with_text, or by the option --item-text of python -m ml.training"
            )
        text = self.space.vectors(training_set.item_text)
        if not text.any():
            raise ValueError(
                f"this model reads the text of the items, and no item of {training_set.dataset} has a title, brand or "
                "category with a word that it was pre-trained with"
            )
        return {"text": text}

    @torch.no_grad()
    def begin(self, model: nn.Module, finetuned: Literal["all", "adaptor"]) -> None:
        """Give a fresh model the pre-trained weights; what is trained for each item stays fresh.

        Of positions the latest are taken, as many as both models have. With ``adaptor`` positions, blocks and the norm
        behind them are not trained any further.

        Raises:
            ValueError: the model has other sizes.
        """
        own = dict(model.named_parameters())
        for name, weight in self.weights.items():
            shared = min(len(own[name]), len(weight)) if name == _POSITIONS and name in own else None
            target = own.get(name) if shared is None else own[name][-shared:]
            source = weight if shared is None else weight[-shared:]
            if target is None or target.shape != source.shape:
                raise ValueError(f"the pre-trained weights {name} do not fit the model: pre-train it again")
            target.copy_(source)
        if finetuned == "adaptor":
            for name, weight in own.items():
                if name.startswith(_ENCODER):
                    weight.requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, the space and ``pretraining.json`` into an existing folder; equal byte for byte
        for equal input."""
        from safetensors.torch import save_file

        save_file(contiguous(self.weights), folder / WEIGHTS)
        self.space.save(folder)
        described = {"format": FORMAT, "recipe_digest": self.recipe, **self.described()}
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Pretrained:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: not all of it is there, or not as it was written.
        """
        from safetensors.torch import load_file

        with whole(folder):
            described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if described["format"] != FORMAT:
                raise ValueError(f"it holds {described['format']}, this version reads {FORMAT}")
            space = importlib.import_module(TEXT_SPACE).TextSpace.load(folder)
            description = {
                name: value for name, value in described.items() if name not in ("format", "recipe_digest", "digest")
            }
            pretrained = cls(load_file(folder / WEIGHTS), space, described["recipe_digest"], description)
            if pretrained.digest() != described["digest"]:
                raise ValueError(f"{WEIGHTS} does not hold the weights that {DESCRIPTION} describes")
            return pretrained


def check_pretrained(recipe: Recipe, pretrained: Pretrained | None) -> None:
    """Check that pre-trained weights are there where a recipe asks for some, and that they are for this one.

    Raises:
        ValueError: they are not.
    """
    if recipe.pretraining is None:
        if pretrained is not None:
            raise ValueError(f"recipe {recipe.name}: pre-trained weights were given to a model that starts at random")
        return
    if pretrained is None:
        raise ValueError(
            f"recipe {recipe.name}: this model starts from weights that were trained on other datasets, and none "
            "were given: pre-train it by ml.transfer.pretrain, or name datasets in PRETRAIN_ON"
        )
    if pretrained.recipe != recipe.pretraining_digest():
        raise ValueError(f"recipe {recipe.name}: it was changed after the weights were pre-trained: do that again")
