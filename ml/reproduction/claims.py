"""Claims: one small file for each published result of a recommender on a dataset.

A claim says what was published, where, and between which bounds ours must lie to count as reproduced. A protocol
says how the dataset is read, split and ranked; all claims of a dataset share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml.config import TableError, read_table, read_toml

CLAIMS = Path(__file__).parent / "claims"
PROTOCOLS = Path(__file__).parent / "protocols"


@dataclass(frozen=True)
class Protocol:
    """Protocol of a dataset: how it is read, split and ranked.

    Attributes:
        name: name of its file without the ending.
        title: for tables.
        dataset: name of the dataset, which names of files begin with or hold.
        file: name of the file or folder to look for; whatever lies beside it belongs to it.
        layout: how it is laid out; empty where its name says so.
        source: who published the file.
        k_core: of the filter; 0 for none.
        validation_users: how many users give a validation item; 0 for all.
        exclude_seen: whether a user's own items are left out of rankings, at validation and test.
        notes: what else a reader must know to compare.
    """

    name: str
    title: str
    dataset: str
    file: str
    layout: str
    source: str
    k_core: int
    validation_users: int
    exclude_seen: bool
    notes: str = ""


@dataclass(frozen=True)
class Claim:
    """A figure, and what ours must be to count as reproduced.

    Attributes:
        name: name of its file without the ending.
        title: of the recommender, as it is called where it was published.
        protocol: name of a protocol.
        recommender: name of a baseline, a recipe or a fusion.
        fit_on: what the final fit sees, ``train`` or ``train+validation``.
        metric: of :func:`ml.evaluation.metrics.metric_values`.
        published: the figure, ``None`` where nobody published one.
        source: where it was published, and what is known of its protocol; or that no paper has the row.
        not_stated: what the source does not say of its protocol, so that its figure may be of another one; empty where
            it says all that is known to matter.
        strongest: the highest published figure of the same kind (same file, same ``fit_on``), ``None`` where none is
            known that is higher than ``published``.
        strongest_source: what it is, and where it was published.
        lowest: ours must not be below.
        highest: ours must not be above, where being better would mean measuring something else.
        above: recommenders that ours must be significantly better than.
        seeds: how many seeds are trained, from 0; 1 where nothing is random.
        device: ``cpu``, or ``cuda`` where a CPU would need days.
    """

    name: str
    title: str
    protocol: str
    recommender: str
    fit_on: Literal["train", "train+validation"]
    source: str
    published: float | None = None
    not_stated: str = ""
    strongest: float | None = None
    strongest_source: str = ""
    lowest: float | None = None
    highest: float | None = None
    above: tuple[str, ...] = ()
    seeds: int = 3
    device: Literal["cpu", "cuda"] = "cpu"
    metric: str = "ndcg@10"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, not {self.seeds}")
        if (self.strongest is None) != (not self.strongest_source):
            raise ValueError("strongest and strongest_source are given together, or not at all")
        if self.strongest is not None and self.published is not None and self.strongest < self.published:
            raise ValueError(f"strongest ({self.strongest}) is below published ({self.published})")
        if self.lowest is not None and self.highest is not None and self.lowest > self.highest:
            raise ValueError(f"lowest ({self.lowest}) is above highest ({self.highest})")


def load_protocols(folder: Path = PROTOCOLS) -> dict[str, Protocol]:
    """Protocols by name.

    Raises:
        TableError: a file is none; the message names it and the key.
    """
    return {path.stem: _load(Protocol, path) for path in sorted(folder.glob("*.toml"))}


def load_claims(folder: Path = CLAIMS, protocols: Path = PROTOCOLS) -> dict[str, Claim]:
    """Claims by name, in the order of their names.

    Raises:
        TableError: a file is none, or names a protocol that does not exist.
    """
    known = load_protocols(protocols)
    claims = {}
    for path in sorted(folder.glob("*.toml")):
        claim = _load(Claim, path)
        if claim.protocol not in known:
            raise TableError(f"{path}: there is no protocol {claim.protocol!r}; there are {', '.join(known)}")
        claims[claim.name] = claim
    return claims


def _load(kind: type, path: Path) -> Any:
    return read_table(kind, {"name": path.stem, **read_toml(path)}, str(path), "")
