"""Where everything lies on disk: the workspace folder and the folders of each dataset in it.

The workspace is ``$RAW2RANK_HOME``, or ``workspace/`` beside the code. Nothing outside it is ever written.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_dataset_name(dataset: str) -> str:
    """The name itself; ``ValueError`` where it could not be a folder and a partition key."""
    if not DATASET_NAME.fullmatch(dataset):
        raise ValueError(
            f"{dataset!r} cannot name a dataset: use letters, digits, '_' and '-', as in Industrial_and_Scientific"
        )
    return dataset


@dataclass(frozen=True)
class DatasetPaths:
    """The places of one dataset."""

    home: Path
    dataset: str

    @property
    def registration(self) -> Path:
        """JSON that says in which folder the files of this dataset lie, and what was said of how they are laid out."""
        return self.home / "datasets" / f"{self.dataset}.json"

    @property
    def fingerprints(self) -> Path:
        """Cache of the SHA-256 of its dumps by size and modification time."""
        return self.home / "datasets" / f"{self.dataset}.fingerprints.json"

    @property
    def lock(self) -> Path:
        """Locked by whoever writes anything of this dataset."""
        return self.home / "datasets" / f"{self.dataset}.lock"

    @property
    def dumps(self) -> Path:
        """Folder of its raw files: the registered one, else ``landing/<dataset>`` in the workspace."""
        return Path(self._registered().get("dumps") or self.home / "landing" / self.dataset)

    @property
    def source_description(self):
        """What the user said of the files (:class:`ml.data.sources.SourceDescription`), or ``None``."""
        from ml.data.sources import SourceDescription

        registered = self._registered()
        if registered.get("source"):
            return SourceDescription.from_toml(Path(registered["source"]))
        if registered.get("layout"):
            return SourceDescription(layout=registered["layout"], origin="LAYOUT")
        return None

    def register(self, dumps: Path | None, layout: str | None = None, source: Path | None = None) -> None:
        """Remember where the files lie (``None``: in the workspace's landing folder), and what is said of them."""
        from ml.data.files import atomic_file

        folder = (dumps or self.home / "landing" / self.dataset).resolve()
        said = {"dumps": str(folder), "layout": layout, "source": str(source.resolve()) if source else None}
        self.registration.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.registration) as temporary:
            temporary.write_text(json.dumps({name: value for name, value in said.items() if value}) + "\n")

    def _registered(self) -> dict[str, str]:
        return json.loads(self.registration.read_text()) if self.registration.exists() else {}

    @property
    def lake(self) -> Path:
        return self.home / "lake" / self.dataset

    @property
    def warehouse(self) -> Path:
        """The DuckDB file; only the dbt step opens it."""
        return self.home / "warehouse" / f"{self.dataset}.duckdb"

    def asset(self, *key: str) -> Path:
        """Folder of an asset in the lake, by its key."""
        return self.lake.joinpath(*key)

    def table(self, schema: str, model: str) -> Path:
        """Parquet file of a dbt model."""
        return self.lake / schema / f"{model}.parquet"

    @property
    def leaderboard(self) -> Path:
        return self.lake / "evaluation" / "leaderboard.parquet"

    @property
    def report(self) -> Path:
        return self.lake / "evaluation" / "report" / "report.html"


@dataclass(frozen=True)
class Workspace:
    """The folder everything is kept in."""

    home: Path

    @classmethod
    def current(cls) -> Workspace:
        return cls(Path(os.environ.get("RAW2RANK_HOME") or REPOSITORY / "workspace").resolve())

    def dataset(self, dataset: str) -> DatasetPaths:
        return DatasetPaths(self.home, check_dataset_name(dataset))

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    def registered(self) -> list[str]:
        """Datasets with a registration, sorted."""
        return sorted(path.stem for path in (self.home / "datasets").glob("*.json") if "." not in path.stem)

    def landed(self) -> list[str]:
        """Folders under ``landing/`` that hold the dataset they are named after, sorted by name."""
        from ml.data.sources import datasets_in

        folders = sorted((self.home / "landing").glob("*/"))
        return [folder.name for folder in folders if folder.name in datasets_in(folder)]
