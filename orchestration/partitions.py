"""The one partition dimension: the dataset. New ones are added when their dumps land or are first run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import dagster as dg

if TYPE_CHECKING:

    class _Named(dg.DynamicPartitionsDefinition):
        """It may be made without a name; this one has one."""

        @property
        def name(self) -> str: ...


# the tag of a run that names its partition (docs.dagster.io, "Run tags")
PARTITION_NAME_TAG = "dagster/partition"

datasets = cast("_Named", dg.DynamicPartitionsDefinition(name="dataset"))
