"""Settings of models that read when the items of a history were interacted with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.models.settings.common import TransformerSettings, check_at_least_one


@dataclass(frozen=True)
class TimeGapSASRecSettings(TransformerSettings):
    """SASRec in pre-norm form whose attention has a learned bias for the time between two items
    (``ml.models.timed_sasrec``).

    Attributes:
        buckets: ranges of the logarithm of a gap in seconds that have a bias each, two for each doubling; longer gaps
            are in the last one. The default reaches beyond a hundred years.
    """

    buckets: int = 64

    model: ClassVar[str] = "ml.models.timed_sasrec:TimeGapSASRec"
    reads_times: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "buckets")


@dataclass(frozen=True)
class TiSASRecSettings(TransformerSettings):
    """TiSASRec (Li, Wang and McAuley, WSDM 2020) with pre-norm blocks (``ml.models.tisasrec``).

    Attributes:
        longest_interval: time between two items, in units of the user's shortest gap, at which it is clipped: ``k`` of
            the paper, where it is from 256 to 2,048.
    """

    longest_interval: int = 256

    model: ClassVar[str] = "ml.models.tisasrec:TiSASRec"
    reads_times: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "longest_interval")
