"""Drift: how far the present state of a dataset is from states that were accepted before.

:mod:`ml.data.drift.profile` describes a staged table by counts, :mod:`ml.data.drift.distances` has the distances of
distributions and rankings, :mod:`ml.data.drift.comparison` compares two states, and :mod:`ml.data.drift.acceptance`
keeps the accepted ones.
"""

from ml.data.drift.acceptance import AcceptanceError, Comparison, accept, compare, states
from ml.data.drift.profile import KINDS, profile

__all__ = ["KINDS", "AcceptanceError", "Comparison", "accept", "compare", "profile", "states"]
