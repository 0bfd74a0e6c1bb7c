"""A file beside those of a dataset that is not read is named wherever somebody looks: runs, assets, ticks, commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from plan_bench import GRAPH, NAME
from workbench import write_small_dump

from orchestration.assets.raw import NOT_READ, landing_assets, observe
from orchestration.automation.run_requests import sense
from orchestration.commands.run import make
from orchestration.definitions import defs
from orchestration.files_read import files_read, to_text
from orchestration.paths import Workspace
from orchestration.resources import Settings

LEFT = "Small_new.json.gz is not read, since the interactions of Small are in Small.json.gz; to read it too, say "


def put_another(home: Path) -> None:
    folder = home / "landing" / NAME
    shutil.copy(folder / "Small.json.gz", folder / "Small_new.json.gz")


def test_nothing_is_made_again_and_commands_and_ticks_say_why(
    home: Path, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet, _ = sense(instance, GRAPH, None)
    assert quiet.skip_reason.skip_message == "no dump has changed"
    put_another(home)
    told, problems = sense(instance, GRAPH, None)
    assert (told.run_requests, problems) == ([], [])
    assert told.skip_reason.skip_message.startswith(f"Small: {LEFT}")
    assert make(instance, defs, NAME, Settings()) == 0
    assert f"warning: {LEFT}" in capsys.readouterr().out


def test_the_landing_says_it_in_its_log_its_metadata_and_how_the_files_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    write_small_dump(tmp_path / "landing" / NAME)
    put_another(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("dataset", [NAME])
        observe(instance, NAME)
        dg.materialize(landing_assets, instance=instance, partition_key=NAME)
        reviews, metadata = (
            instance.get_latest_materialization_event(dg.AssetKey(["landing", kind])).asset_materialization.metadata
            for kind in ("reviews", "metadata")
        )
        event = instance.fetch_observations(dg.AssetKey(["raw", "reviews"]), limit=1).records[0]
    assert reviews[NOT_READ].value.startswith(LEFT)
    assert NOT_READ not in metadata
    assert event.asset_observation.metadata[NOT_READ].value == reviews[NOT_READ].value
    (logged,) = (line for line in capfd.readouterr().err.splitlines() if f"landing__reviews - {LEFT}" in line)
    assert " - WARNING - " in logged
    assert f"  warning: {LEFT}" in to_text(files_read(Workspace.current().dataset(NAME)))
