"""The audits by name, the gravest first: the order in which a report prints those of like outcome.

Graver than others is whether the benchmark measures at all; then what was measured by accident; what is counted twice;
what is known too early, as in every leave-one-out split; how far it reaches; how scores may be read.

An audit is one module of this package: a function that returns an :class:`~ml.audits.audit.Audit`, and a ``REGISTERED``
(:mod:`ml.registry`) whose path leads to the function. ``needs`` names the arguments of the function, each of which is
one of :data:`ARGUMENTS`; the asset of the audit depends on what they are read from.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ml.registry import Registered, registered

ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "training_set": "the training set with its item text",
        "with_vectors": "the training set with its item text and the vectors of it",
        "sequences": "the training set without item text",
        "interactions": "what the training set was made of, ``ml.data.timed_interactions.Interactions``",
        "candidates": "recommenders to fit, ``ml.audits.variant_runs.Candidate``: the cheap ones, and AUDIT_MODEL",
        "codes": "recipes of the codes that compared models are built on",
        "leaderboard": "rows of the leaderboard, best first",
        "values": "nDCG@10 of every test user under each seed, by name of recommender",
        "leading": "the leader, the best model and the best baseline, fitted, by title",
        "trained": "the compared models, fitted, with the settings of their objectives, by title",
        "fit_on": "what final fits read, ``train`` or ``train+validation``",
        "exclude_seen": "whether rankings leave out the items of the history",
        "seed": "seed of everything random",
    }
)

AUDITS = registered("ml.audits", Registered)

for _audit in AUDITS.values():
    if _unknown := set(_audit.needs) - set(ARGUMENTS):
        raise ValueError(
            f"{_audit.module}: REGISTERED: an audit cannot be given {', '.join(sorted(_unknown))}; it may need "
            f"{', '.join(ARGUMENTS)}"
        )
