"""A workspace, and the command on it as a user gives it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from ml.demo.dump import write_demo_dump
from orchestration.commands import check_data, search
from orchestration.commands.run import main
from orchestration.execution.dagster_sqlite import open_instance

USERS, ITEMS = 260, 90


@dataclass
class Workbench:
    """One workspace: where it lies, and what the command said last."""

    home: Path
    dumps: Path
    capture: Callable[[], str]

    def run(self, *options: str, dataset: str = "Small") -> tuple[int, str]:
        """``make run`` with options; exit code and all that was printed."""
        return self._command(main, ["--dataset", dataset, "--dumps", str(self.dumps), "--k-core", "3", *options])

    def command(self, *options: str) -> tuple[int, str]:
        """``make run`` with these options and no others."""
        return self._command(main, list(options))

    def check(self, *options: str) -> tuple[int, str]:
        """``make check-data`` with options."""
        given = ["--dataset", "Small", "--dumps", str(self.dumps), "--k-core", "3"]
        return self._command(check_data.main, [*given, *options])

    def search(self, *options: str, dataset: str = "Small") -> tuple[int, str]:
        """``make search`` with options."""
        return self._command(search.main, ["--dataset", dataset, *options])

    def _command(self, command: Callable[[list[str]], int], arguments: list[str]) -> tuple[int, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAW2RANK_HOME", str(self.home))
            patch.setenv("DAGSTER_HOME", str(self.home / "dagster"))
            try:
                code = command(arguments)
            except SystemExit as ended:
                # of an option that is not possible; the interpreter makes it the exit code
                code = ended.code
        return code, self.capture()

    def versions(self, dataset: str = "Small") -> dict[str, str]:
        """Data version of everything that is materialised for a dataset."""
        found = {}
        with open_instance(self.home / "dagster") as instance:
            for key in instance.all_asset_keys():
                record = instance.get_latest_data_version_record(key, partition_key=dataset)
                if record is not None:
                    found[key.to_user_string()] = (record.event_log_entry.tags or {})["dagster/data_version"]
        return found

    def materializations(self, dataset: str = "Small") -> dict[str, int]:
        """How often each asset was made for a dataset."""
        counts = {}
        with open_instance(self.home / "dagster") as instance:
            for key in instance.all_asset_keys():
                filter_ = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[dataset])
                counts[key.to_user_string()] = len(instance.fetch_materializations(filter_, limit=100).records)
        return counts

    def lake(self, *parts: str, dataset: str = "Small") -> Path:
        return self.home.joinpath("lake", dataset, *parts)


def write_small_dump(folder: Path, dataset: str = "Small") -> None:
    """The demo dump in small, under another name."""
    folder.mkdir(parents=True, exist_ok=True)
    write_demo_dump(folder, users=USERS, items=ITEMS)
    for path in sorted(folder.glob("*Demo*")):
        path.rename(path.with_name(path.name.replace("Demo", dataset)))
