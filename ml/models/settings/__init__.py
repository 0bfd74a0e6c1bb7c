"""Settings of models. Imports no torch, because recipes are read where no model is built.

The settings of the models that ship stand in the modules of this package, one for each family, and name the class that
is built from them. A model of one's own needs no line here: see :data:`MODEL_SETTINGS`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from ml.models.settings.attributes import CaFeSettings
from ml.models.settings.classic import (
    CaserSettings,
    FPMCSettings,
    GRU4RecSettings,
    MatrixFactorisationSettings,
    NextItNetSettings,
)
from ml.models.settings.common import (
    AUTO,
    DEFAULT_TEXT_ENCODER,
    ItemVectorSettings,
    MaxLength,
    TextSettings,
    decided_length,
)
from ml.models.settings.generating import (
    GenRecSettings,
    GPTRecCodesSettings,
    GPTRecSettings,
    ItemCodesSettings,
    TIGERSettings,
)
from ml.models.settings.memory import HSTUSettings, MambaSettings, ReasoningSASRecSettings, SIGMASettings
from ml.models.settings.text import AlphaRecSettings, RecformerSettings, UniSRecSettings
from ml.models.settings.timed import TimeGapSASRecSettings, TiSASRecSettings
from ml.models.settings.transformers import BERT4RecSettings, BSARecSettings, SASRecSettings

__all__ = [
    "AUTO",
    "MODEL_SETTINGS",
    "AlphaRecSettings",
    "BERT4RecSettings",
    "BSARecSettings",
    "CaFeSettings",
    "CaserSettings",
    "FPMCSettings",
    "GPTRecCodesSettings",
    "GPTRecSettings",
    "GRU4RecSettings",
    "GenRecSettings",
    "HSTUSettings",
    "ItemCodesSettings",
    "ItemVectorSettings",
    "MambaSettings",
    "MatrixFactorisationSettings",
    "MaxLength",
    "ModelSettings",
    "NextItNetSettings",
    "ReasoningSASRecSettings",
    "RecformerSettings",
    "SASRecSettings",
    "SIGMASettings",
    "TIGERSettings",
    "TextSettings",
    "TiSASRecSettings",
    "TimeGapSASRecSettings",
    "UniSRecSettings",
    "decided_length",
    "generates",
    "knows_users",
    "needs_codes",
    "needs_item_text",
    "needs_text_vectors",
    "reads_categories",
    "reads_text",
    "reads_times",
    "reads_words",
    "writes_lists",
]

_PACKAGE = __name__.rpartition(".")[0]

# a dataclass; of one's own models it is the class `Settings` of the model's file
ModelSettings = Any


def needs_codes(settings: ModelSettings) -> bool:
    """Whether a model is built on codes: what its settings say under ``needs_codes``, a property or class variable."""
    return bool(getattr(settings, "needs_codes", False))


def generates(settings: ModelSettings) -> bool:
    """Whether a model generates identifiers, code by code: ``generates`` of its settings."""
    return bool(getattr(settings, "generates", False))


def writes_lists(settings: ModelSettings) -> bool:
    """Whether a model writes lists item by item: ``writes_lists`` of its settings."""
    return bool(getattr(settings, "writes_lists", False))


def reads_text(settings: ModelSettings) -> bool:
    """Whether a model is built on vectors of the items' text: ``reads_text`` of its settings, which then have the
    attributes of :class:`TextSettings`."""
    return bool(getattr(settings, "reads_text", False))


def reads_categories(settings: ModelSettings) -> bool:
    """Whether a model is built on the categories of the items: ``reads_categories`` of its settings."""
    return bool(getattr(settings, "reads_categories", False))


def reads_words(settings: ModelSettings) -> bool:
    """Whether a model reads the words of the items' text: ``reads_words`` of its settings, which then have
    ``vocabulary`` and ``words_of_key``."""
    return bool(getattr(settings, "reads_words", False))


def reads_times(settings: ModelSettings) -> bool:
    """Whether a model reads when items were interacted with: ``reads_times`` of its settings."""
    return bool(getattr(settings, "reads_times", False))


def knows_users(settings: ModelSettings) -> bool:
    """Whether a model has vectors of the users that it was trained on: ``knows_users`` of its settings."""
    return bool(getattr(settings, "knows_users", False))


def needs_item_text(settings: ModelSettings) -> bool:
    """Whether a training set must hold its item text for a model to be trained on it."""
    return reads_text(settings) or reads_words(settings) or reads_categories(settings)


def needs_text_vectors(settings: ModelSettings) -> bool:
    """Whether a model reads the vectors of the default text encoder, which are an asset; those of others are computed
    where a model is trained."""
    return reads_text(settings) and settings.text_encoder == DEFAULT_TEXT_ENCODER


class _Architectures(Mapping[str, type]):
    """Settings classes by architecture: those above, and ``Settings`` of ``ml/models/<architecture>.py``.

    A file is imported when a recipe names it, and torch with it; an import takes seconds. The settings of the models
    that ship stand above for that reason alone: recipes are read wherever the graph of assets is loaded.
    """

    def __init__(self, shipped: dict[str, type]) -> None:
        self._shipped = shipped

    def __getitem__(self, architecture: str) -> type:
        if architecture in self._shipped:
            return self._shipped[architecture]
        name = f"{_PACKAGE}.{architecture}"
        if not architecture.isidentifier() or importlib.util.find_spec(name) is None:
            raise KeyError(architecture)
        module = importlib.import_module(name)
        if not (is_dataclass(getattr(module, "Settings", None)) and hasattr(module, "Model")):
            raise KeyError(architecture)
        return module.Settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._shipped)

    def __len__(self) -> int:
        return len(self._shipped)


MODEL_SETTINGS: Mapping[str, type] = _Architectures(
    {
        "alpharec": AlphaRecSettings,
        "bert4rec": BERT4RecSettings,
        "bsarec": BSARecSettings,
        "cafe": CaFeSettings,
        "caser": CaserSettings,
        "fpmc": FPMCSettings,
        "genrec": GenRecSettings,
        "gptrec": GPTRecSettings,
        "gptrec_codes": GPTRecCodesSettings,
        "gru4rec": GRU4RecSettings,
        "hstu": HSTUSettings,
        "item_codes": ItemCodesSettings,
        "mamba": MambaSettings,
        "matrix_factorisation": MatrixFactorisationSettings,
        "nextitnet": NextItNetSettings,
        "recformer": RecformerSettings,
        "sasrec": SASRecSettings,
        "sasrec_reasoning": ReasoningSASRecSettings,
        "sigma": SIGMASettings,
        "tiger": TIGERSettings,
        "time_gap_sasrec": TimeGapSASRecSettings,
        "tisasrec": TiSASRecSettings,
        "unisrec": UniSRecSettings,
    }
)
