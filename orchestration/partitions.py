"""The one partition dimension: the dataset. New ones are added when their dumps land or are first run."""

from __future__ import annotations

import dagster as dg

NAME = "dataset"
datasets = dg.DynamicPartitionsDefinition(name=NAME)
