"""What the lineage records of the release in charge."""

from __future__ import annotations

from typing import Any

import dagster as dg

from orchestration.dagster_internals import DATA_VERSION_TAG
from orchestration.paths import DatasetPaths
from orchestration.release import State


def version_of_champion(state: State) -> str:
    """Data version of the champion."""
    return state.release or "no champion"


def metadata_of_champion(paths: DatasetPaths, state: State) -> dict[str, Any]:
    """What the UI shows of the champion."""
    return {
        "dagster/row_count": 1 if state.release else 0,
        "dagster/uri": str(paths.champion),
        "release": state.release or "none",
        "recommender": state.name or "none",
        "title": state.title or "none",
        "since": state.since or "not known",
        "what was done": state.sentence,
    }


def champion_put_in_charge(paths: DatasetPaths, state: State) -> dg.AssetMaterialization:
    """The record of a champion that was put in charge by something else than its asset."""
    return dg.AssetMaterialization(
        asset_key=["release", "champion"],
        partition=paths.dataset,
        description=state.sentence,
        metadata=metadata_of_champion(paths, state),
        tags={DATA_VERSION_TAG: version_of_champion(state)},
    )
