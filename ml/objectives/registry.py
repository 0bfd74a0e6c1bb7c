"""The objectives by the name that recipes use.

An objective is one module of this package: the class of the loss, of the form of
:class:`ml.objectives.build.Objective`, made from its settings and the training interactions of each item; and a
``REGISTERED`` (:mod:`ml.registry`) whose path leads to the settings. These are a frozen dataclass with a class variable
``objective``, ``module:class`` of the loss, and a method ``describe``, whose words stand in tables of results.

The settings may stand in the same module, which is then imported, and torch with it, where a recipe names the
objective. Those of the objectives that ship are in :mod:`ml.objectives.settings`, which needs no torch.
"""

from __future__ import annotations

from ml.registry import Registered, registered

OBJECTIVES = registered("ml.objectives", Registered)
