"""What a report says of models that generate the identifiers of items."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BeamWidth:
    """Lists of ten from a beam of one width, without a repetition where a list is not certified.

    Attributes:
        width: prefixes kept at each level.
        certified: share of the lists that are certified to be exact.
        equal: share of the lists that are equal, item by item, to those of the widest beam.
        ndcg: mean nDCG@10.
    """

    width: int
    certified: float
    equal: float
    ndcg: float


@dataclass(frozen=True)
class TupleFigures:
    """Figures of items beside those of identifiers before collisions were resolved, means over the test users.

    Attributes:
        shared: items that shared their identifier with another one.
        ndcg: nDCG@10 of the held-out item.
        ndcg_of_tuples: the same where any item with the identifier of the held-out one counts as a hit.
        recall: recall@10 of the held-out item.
        recall_of_tuples: as ``ndcg_of_tuples``.
    """

    shared: int
    ndcg: float
    ndcg_of_tuples: float
    recall: float
    recall_of_tuples: float


@dataclass(frozen=True)
class Generation:
    """How one model generates its lists.

    Attributes:
        title: of the model.
        codes: name of the code assignment that its identifiers come from.
        levels: codes of an identifier.
        beam: width of its beam; 0 where all items are scored.
        candidates: items of the list by codes that are then ranked by dot products; 0 where none are.
        lists: lists that were generated; ``None`` where all items are scored.
        certified: those that are certified to be exact.
        repeated: those that were searched again with a wider beam.
        filled: those that were filled by popularity.
        tuples: ``None`` where collisions were not resolved.
        users: test users of ``widths``.
        widths: ascending; empty where all items are scored.
    """

    title: str
    codes: str
    levels: int
    beam: int
    candidates: int = 0
    lists: int | None = None
    certified: int | None = None
    repeated: int | None = None
    filled: int | None = None
    tuples: TupleFigures | None = None
    users: int = 0
    widths: tuple[BeamWidth, ...] = ()
