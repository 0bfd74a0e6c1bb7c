"""Paths: the workspace and the folders of each dataset in it.

The workspace is ``$RAW2RANK_HOME``; without it ``workspace/`` in a checkout of the repository, and in the current
folder where raw2rank is installed as a package. An installed package is never written to.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.settings_file import RegistrationError, place, read_dataset_file, write_dataset_file

if TYPE_CHECKING:
    from ml.data.object_storage.location import Location

__all__ = ["DatasetPaths", "RegistrationError", "Workspace", "WorkspaceError", "check_dataset_name"]

# The folder that holds orchestration/, ml/, dbt_project/ and data_contracts/: a checkout, or site-packages.
REPOSITORY = Path(__file__).resolve().parent.parent
IS_CHECKOUT = (REPOSITORY / "pyproject.toml").is_file()
DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# Parts of the address at which the server of the UI shows them.
REPORTS, DATA_DOCS, RELEASES = "reports", "data-docs", "releases"
# folder of the workspace for dumps that were fetched from object storage
FETCHED = "fetched"
# settings that name files of item ids, whose content is a part of the choice
ITEM_FILES = ("recommend_only", "recommend_without")
# Names of files are made of it, with up to 30 bytes more; file systems allow 255.
LONGEST_DATASET_NAME = 200
# DuckDB takes a backslash for a slash, and puts its log elsewhere where it finds a question mark; control characters
# break lines of the terminal and of logs.
_NOT_IN_A_WORKSPACE = re.compile(r"[?\\\x00-\x1f\x7f\ud800-\udfff]")


class WorkspaceError(ValueError):
    """The workspace cannot be used; the message says why and what to do."""


def check_dataset_name(dataset: str) -> str:
    """The name itself; ``ValueError`` where it could not be a folder and a partition key."""
    if not DATASET_NAME.fullmatch(dataset):
        raise ValueError(
            f"{dataset!r} cannot name a dataset: use letters, digits, '_' and '-', as in Industrial_and_Scientific"
        )
    if len(dataset) > LONGEST_DATASET_NAME:
        raise ValueError(
            f"{dataset[:40]}... cannot name a dataset: it has {len(dataset)} letters, and {LONGEST_DATASET_NAME} are "
            "the most; choose a shorter name"
        )
    return dataset


@dataclass(frozen=True)
class DatasetPaths:
    """The places of one dataset."""

    home: Path
    dataset: str

    @property
    def registration(self) -> Path:
        """TOML file for people to edit: where the files of this dataset lie, how they are laid out, its settings."""
        return self.home / "datasets" / f"{self.dataset}.toml"

    @property
    def fingerprints(self) -> Path:
        """Cache of the SHA-256 of its dumps by size and modification time."""
        return self.home / "datasets" / f"{self.dataset}.fingerprints.json"

    @property
    def lock(self) -> Path:
        """Lock file of the writers of this dataset."""
        return self.home / "datasets" / f"{self.dataset}.lock"

    @property
    def dumps(self) -> Path:
        """Folder of its raw files: the registered one, else ``landing/<dataset>`` in the workspace; of files in object
        storage the folder that they are fetched into."""
        if (url := self.dumps_url) is not None:
            from ml.data.object_storage.dumps import folder_name

            return self.home / FETCHED / self.dataset / folder_name(url)
        return self.home / self._registered().get("dumps", f"landing/{self.dataset}")

    @property
    def dumps_url(self) -> Location | None:
        """Where its raw files lie in object storage; ``None`` where they lie in a folder.

        Raises:
            RegistrationError: the registered URL cannot be used.
        """
        written = self._registered().get("dumps", "")
        if "://" not in written:
            return None
        from ml.data.object_storage.location import Location

        try:
            return Location.of(written)
        except ValueError as error:
            raise RegistrationError(f"{place(self.registration, 'dumps')}: {error}") from error

    @property
    def dumps_shown(self) -> str:
        """The folder or URL of its raw files, for people to read."""
        return str(self.dumps_url or self.dumps)

    @property
    def source_file(self) -> Path | None:
        """The registered TOML file that describes the files, where one was given."""
        source = self._registered().get("source")
        return self.home / source if source else None

    @property
    def source_description(self):
        """The user's description of the files (:class:`ml.data.sources.SourceDescription`), or ``None``."""
        from ml.data.sources import SourceDescription

        registered = self._registered()
        if self.source_file:
            return SourceDescription.from_toml(self.source_file)
        if registered.get("layout"):
            return SourceDescription(layout=registered["layout"], origin="LAYOUT")
        return None

    @property
    def settings_written(self) -> dict[str, Any]:
        """The settings in its file as they were written, not checked."""
        return dict(self._registered().get("settings", {}))

    def register(self, dumps: Path | Location | None, layout: str | None = None, source: Path | None = None) -> None:
        """Register the folder or URL of the files (``None``: the landing folder of the workspace) and their layout.

        What lies in the workspace is named from there, so that the workspace can be moved. Settings in the file stay.
        """
        folder = dumps or self.home / "landing" / self.dataset
        files = {
            "dumps": self._named(folder) if isinstance(folder, Path) else str(folder),
            "layout": layout,
            "source": self._named(source) if source else None,
        }
        write_dataset_file(self.registration, self.dataset, files)

    def register_as_before(self) -> None:
        """Write the file of the dataset with what is known of its files: from a registration of an earlier version,
        else the landing folder."""
        self.register(self.dumps_url or self.dumps, self._registered().get("layout"), self.source_file)

    def _named(self, path: Path) -> str:
        home, path = self.home.resolve(), path.resolve()
        return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)

    def _registered(self) -> dict[str, Any]:
        return read_dataset_file(self.registration, self.dataset)

    @property
    def lake(self) -> Path:
        return self.home / "lake" / self.dataset

    @property
    def warehouse(self) -> Path:
        """The DuckDB file; only the dbt step opens it."""
        return self.home / "warehouse" / f"{self.dataset}.duckdb"

    @property
    def spark(self) -> Path:
        """Folder of the tables that Spark made, and of its catalogue of them."""
        return self.home / "warehouse" / f"{self.dataset}.spark"

    @property
    def spill(self) -> Path:
        """Folder for what dbt cannot keep in memory; there only while it runs."""
        return self.warehouse.with_name(f"{self.warehouse.name}.temporary")

    @property
    def dbt_target(self) -> Path:
        """Folder of dbt's log, results and compiled models."""
        return self.home / "dbt" / self.dataset

    def asset(self, *key: str) -> Path:
        """Folder of an asset in the lake, by its key."""
        return self.lake.joinpath(*key)

    def recommender(self, name: str) -> Path:
        """Folder of a fitted baseline, model, fusion or re-ranking."""
        from ml.recommenders.registry import layer_of

        return self.asset(layer_of(name), name)

    def table(self, schema: str, model: str) -> Path:
        """Parquet file of a dbt model."""
        return self.lake / schema / f"{model}.parquet"

    @property
    def leaderboard(self) -> Path:
        return self.lake / "evaluation" / "leaderboard.parquet"

    @property
    def report(self) -> Path:
        return self.lake / "evaluation" / "report" / "report.html"

    @property
    def champion(self) -> Path:
        """Folder of the release in charge, a bundle; absent before the first release."""
        return self.asset("release", "champion")

    @property
    def decision_page(self) -> Path:
        """The page on the last decision on a release."""
        return self.asset("release", "decision") / "decision.html"

    @property
    def data_docs(self) -> Path:
        """Folder of the pages on its checks."""
        return self.home / "data_docs" / self.dataset

    @property
    def report_url(self) -> str:
        """URL path of the report on the UI's server."""
        return f"/{REPORTS}/{self.dataset}/report.html"

    @property
    def decision_url(self) -> str:
        """URL path of the page on the last decision on the UI's server."""
        return f"/{RELEASES}/{self.dataset}/decision.html"

    @property
    def data_docs_url(self) -> str:
        """URL path of the Data Docs on the UI's server."""
        return f"/{DATA_DOCS}/{self.dataset}/index.html"


@dataclass(frozen=True)
class Workspace:
    """The folder everything is kept in."""

    home: Path

    @classmethod
    def current(cls) -> Workspace:
        beside = REPOSITORY if IS_CHECKOUT else Path.cwd()
        return cls(Path(os.environ.get("RAW2RANK_HOME") or beside / "workspace").resolve())

    def check(self) -> None:
        """Make the folder where there is none, and see that it can be used.

        Raises:
            WorkspaceError: it is a URL, its path holds a character that cannot be used, or ``RAW2RANK_KEEP`` is not
                possible.
            OSError: it cannot be made or written to.
        """
        if found := _NOT_IN_A_WORKSPACE.search(str(self.home)):
            raise WorkspaceError(
                f"the path of the workspace {str(self.home)!r} holds the character {found[0]!r}, which DuckDB cannot "
                "handle: name another folder by RAW2RANK_HOME"
            )
        if any(part in ("s3:", "gs:", "az:") for part in self.home.parts):
            raise WorkspaceError(
                "RAW2RANK_HOME names a folder of this machine, and no URL: name the place in object storage by "
                "RAW2RANK_SHARED_LAKE, below which the data of each dataset is published"
            )
        from ml.data.versions import kept_before

        try:
            # known before hours of training are lost
            kept_before()
        except ValueError as error:
            raise WorkspaceError(str(error)) from error
        self.home.mkdir(parents=True, exist_ok=True)
        # a look at the permissions would not see a file system that is read-only or full
        with tempfile.NamedTemporaryFile(prefix=".check-", dir=self.home) as file:
            file.write(bytes(4096))

    def dataset(self, dataset: str) -> DatasetPaths:
        return DatasetPaths(self.home, check_dataset_name(dataset))

    @property
    def dbt_parsed(self) -> Path:
        """dbt's target folder where the project is installed read-only; no dataset can have its name."""
        return self.home / "dbt" / "_project"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    def registrations(self) -> list[Path]:
        """The files of datasets, those of earlier versions among them, sorted by name."""
        folder = self.home / "datasets"
        found = (path for suffix in (".toml", ".json") for path in folder.glob(f"[!.]*{suffix}"))
        return sorted(path for path in found if "." not in path.stem)

    def registered(self) -> list[str]:
        """Datasets with a registration, sorted."""
        return sorted({path.stem for path in self.registrations()})
