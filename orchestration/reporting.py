"""Metadata, column schemas and data versions of assets, and known failures as Dagster failures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.faults import links_of, sentence
from orchestration.paths import Workspace

# Assets are code of one team; dbt models name their owners in their own meta.
DATA_OWNERS = ["team:data"]
RECOMMENDATION_OWNERS = ["team:recommendation"]


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_of_files(folder: Path, *patterns: str) -> str:
    """SHA-256 over names and bytes of the files below a folder that match any of the patterns."""
    digest = hashlib.sha256()
    files = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(files, key=lambda file: file.relative_to(folder).as_posix()):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def parquet_metadata(path: Path, descriptions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Rows, column schema and place of a Parquet file, or of the files of a folder, under the keys the UI knows."""
    import pyarrow.parquet as pq

    described = descriptions or {}
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    columns = [
        dg.TableColumn(field.name, str(field.type), description=described.get(field.name))
        for field in pq.read_schema(files[0])
    ]
    return {
        "dagster/row_count": sum(pq.read_metadata(file).num_rows for file in files),
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/uri": str(path),
        "bytes": sum(file.stat().st_size for file in files),
    }


def array_schema(**columns: tuple[str, str]) -> dg.TableSchema:
    """Schema of an asset that is no table: ``name=(type, description)``."""
    return dg.TableSchema(
        columns=[dg.TableColumn(name, kind, description=text) for name, (kind, text) in columns.items()]
    )


def materialization(
    data_version: str, metadata: Mapping[str, Any], checks: Sequence[dg.AssetCheckResult] = ()
) -> dg.MaterializeResult:
    """The result of an asset whose identity is its content, with that of checks that were made along with it."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(data_version[:32]), metadata=dict(metadata), check_results=list(checks)
    )


@contextmanager
def as_dagster_failure(dataset: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn the given errors, which say what is wrong with the input, into a failure without retries.

    The message becomes the failure's description, which the UI and ``make run`` show as it is. Errors that are
    not named are bugs and keep their traceback.
    """
    try:
        yield
    except errors as error:
        raise dg.Failure(description=f"{dataset}: {error}", allow_retries=False) from error


@contextmanager
def collect_problems(name: str, problems: list[str]) -> Iterator[None]:
    """Note what is wrong with the files, the name or the settings of one dataset, where others are to go on.

    A fault of the code is raised.

    Args:
        name: of the dataset.
        problems: is added to, a sentence.
    """
    try:
        yield
    except Exception as error:
        said = sentence(links_of(error), Workspace.current().home)
        if said is None and not isinstance(error, ValueError):
            raise
        problems.append(f"{name}: {said or error}")
