"""Code assignments: each item of the catalogue as a short tuple of small integers.

:data:`ASSIGNMENTS` describes them by name. Importing this package imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml.codes.codes import Codes
    from ml.data.training_set import TrainingSet


@dataclass(frozen=True)
class Assignment:
    """A way to assign codes, and where its function is found.

    Attributes:
        name: the name used in files, recipes and commands.
        title: the name shown to readers.
        description: which items get like codes, in a sentence or two.
        source: where it comes from.
        path: ``module:function``, a function of the training set, the number of books and a seed.
    """

    name: str
    title: str
    description: str
    source: str
    path: str

    def assign(self, training_set: TrainingSet, books: int = 8, seed: int = 0) -> Codes:
        """Codes from the training histories alone; the module is imported now."""
        module, function = self.path.split(":")
        return getattr(import_module(module), function)(training_set, books, seed)


_RECJPQ = "Petrov and Macdonald, RecJPQ: Training Large-Catalogue Sequential Recommenders, WSDM 2024, section 4"

_ALL = (
    Assignment(
        name="svd",
        title="Truncated SVD",
        description=(
            "Items that the same users have get like codes: equally full bins of the factors of a truncated SVD of "
            "the training interactions."
        ),
        source=_RECJPQ,
        path="ml.codes.svd:assign_svd_codes",
    ),
    Assignment(
        name="bpr",
        title="BPR matrix factorisation",
        description=(
            "Items that the same users prefer to others get like codes: equally full bins of the item factors of a "
            "matrix factorisation trained with BPR on the training interactions."
        ),
        source=f"{_RECJPQ}; Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009",
        path="ml.codes.bpr:assign_bpr_codes",
    ),
    Assignment(
        name="random",
        title="Random",
        description="Equally full codes drawn at random: what codes are worth that know nothing of the interactions.",
        source=_RECJPQ,
        path="ml.codes.random_codes:assign_random_codes",
    ),
)

ASSIGNMENTS: dict[str, Assignment] = {assignment.name: assignment for assignment in _ALL}
