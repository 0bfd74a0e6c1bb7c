"""What a bundle's folder holds, and how it is checked.

::

    bundle.json            format, name, kind, protocol, digests, and the SHA-256 of each file that is loaded
    catalogue.parquet      item_id, title, interactions; the row is the item's index
    item_graph/            which items stood side by side in the training histories (ml.release.similar)
    recommenders/<part>/   what `save` of each recommender wrote
    MODEL_CARD.md          the same for people

Nothing here needs torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.files import sha256_of_file
from ml.recommender import KINDS

FORMAT = "raw2rank-bundle-1"
BUNDLE_FILE = "bundle.json"
CATALOGUE_FILE = "catalogue.parquet"
CARD_FILE = "MODEL_CARD.md"
GRAPH_FOLDER = "item_graph"
RECOMMENDERS = "recommenders"

# what a finished fit leaves beside what it loads: clocks and machines, and lists that only a fusion is fitted with
_LEFT_OUT = ("training_run.json", "fit.json", "validation_items.npy", "validation_scores.npy", "tensorboard")
_TIMED = ("seconds", "sequences_per_second", "lists_per_second")
_ABOUT = {
    "format": str,
    "name": str,
    "title": str,
    "kind": str,
    "dataset": str,
    "items": int,
    "exclude_seen": bool,
    "reads_times": bool,
    "knows_users": bool,
    "fitted_on": str,
    "protocol": dict,
    "digests": dict,
    "described": dict,
    "recommenders": dict,
    "files": dict,
}


class BundleError(ValueError):
    """A bundle that cannot be written, read or asked; the message says what and the remedy."""


@dataclass(frozen=True)
class Catalogue:
    """The items of a bundle, by item index.

    Attributes:
        item_ids: bytes ``[items]``, ascending.
        titles: Parquet's text column; empty where a title is not known.
        interactions: in the training histories, int64 ``[items]``.
    """

    item_ids: np.ndarray
    titles: pa.Array
    interactions: np.ndarray


def write_catalogue(folder: Path, item_ids: np.ndarray, titles: Mapping[str, str], interactions: np.ndarray) -> None:
    """Write ``catalogue.parquet``.

    Raises:
        BundleError: an item id is no UTF-8 text.
    """
    try:
        identities = [item_id.decode() for item_id in item_ids.tolist()]
    except UnicodeDecodeError as error:
        raise BundleError(
            f"the item id {error.object!r} is no UTF-8 text, which the ids of a bundle must be: rename it in the source"
        ) from error
    table = pa.table(
        {
            "item_id": pa.array(identities, pa.string()),
            "title": pa.array([titles.get(identity) or "" for identity in identities], pa.string()),
            "interactions": pa.array(interactions, pa.int64()),
        }
    )
    pq.write_table(table, folder / CATALOGUE_FILE, compression="zstd")


def read_catalogue(folder: Path) -> Catalogue:
    """Read what :func:`write_catalogue` wrote."""
    table = pq.read_table(folder / CATALOGUE_FILE, columns=["item_id", "title", "interactions"]).combine_chunks()
    identities = np.array([identity.encode() for identity in table["item_id"].to_pylist()], dtype=np.bytes_)
    titles = table["title"].combine_chunks()
    return Catalogue(identities, titles, table["interactions"].to_numpy())


def copy_recommender(source: Path, target: Path, parts: Collection[str] = ()) -> None:
    """Copy what a recommender is loaded from, without clocks: equal recommenders give equal bytes.

    Logs keep their lines, with all durations and speeds set to 0.

    Args:
        source: the folder that its ``save`` filled.
        target: an existing folder.
        parts: other recommenders, whose folders are left out: they are copied for themselves.
    """
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or path.name in _LEFT_OUT or path.name in parts:
            continue
        if path.is_dir():
            (target / path.name).mkdir()
            copy_recommender(path, target / path.name)
        elif path.suffix == ".jsonl":
            (target / path.name).write_text(_without_clocks(path.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copyfile(path, target / path.name)


def _without_clocks(log: str) -> str:
    lines = [json.loads(line) for line in log.splitlines()]
    timeless = [{key: 0.0 if key in _TIMED and value else value for key, value in line.items()} for line in lines]
    return "".join(f"{json.dumps(line)}\n" for line in timeless)


def digests_of_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by its path, but of ``bundle.json`` and of the model card, which anyone may edit."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != CARD_FILE)
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    named.pop(BUNDLE_FILE, None)
    return {name: sha256_of_file(named[name]) for name in sorted(named)}


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write ``bundle.json``."""
    assert set(about) == set(_ABOUT)
    text = json.dumps(dict(about), indent=2, ensure_ascii=False)
    (folder / BUNDLE_FILE).write_text(text + "\n", encoding="utf-8")


def read_about(folder: Path) -> dict[str, Any]:
    """Read ``bundle.json`` and check every file that it names.

    Raises:
        BundleError: there is no bundle, it is of another format, or a file is missing or damaged.
    """
    path = folder / BUNDLE_FILE
    if not folder.is_dir():
        raise BundleError(f"{folder} does not exist: give the folder of a bundle, which holds {BUNDLE_FILE}")
    if not path.is_file():
        raise BundleError(f"{folder} holds no {BUNDLE_FILE}, so it is no bundle: give the folder that was released")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(about, dict):
            raise ValueError("it holds no JSON object")
    except ValueError as error:
        raise damaged(folder, f"{BUNDLE_FILE}: {error}") from error
    if about.get("format") != FORMAT:
        raise BundleError(
            f"{path} is of the format {about.get('format')!r}, and this version of raw2rank reads {FORMAT!r}: use the "
            "version that wrote the bundle, or release the recommender again"
        )
    for key, kind in _ABOUT.items():
        if not isinstance(about.get(key), kind):
            raise damaged(folder, f"{BUNDLE_FILE} does not say {key}")
    for name, part in about["recommenders"].items():
        if name != Path(name).name or not isinstance(part, dict) or part.get("kind") not in KINDS:
            raise damaged(folder, f"{BUNDLE_FILE} does not describe the recommender {name}")
    if about["name"] not in about["recommenders"]:
        raise damaged(folder, f"{BUNDLE_FILE} does not describe the recommender {about['name']}")
    for problem in _problems(folder, about["files"]):
        raise damaged(folder, problem)
    return about


def _problems(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    for name, digest in files.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            yield f"{BUNDLE_FILE} names the file {name}, which is outside the folder"
        elif not (folder / name).is_file():
            yield f"{name} is missing"
        elif sha256_of_file(folder / name) != digest:
            yield f"{name} is not as it was written"
    if CATALOGUE_FILE not in files:
        yield f"{BUNDLE_FILE} does not name {CATALOGUE_FILE}"


def damaged(folder: Path, problem: str) -> BundleError:
    """The error for a bundle that is not as it was written."""
    return BundleError(f"the bundle {folder} is damaged ({problem}): copy it again, or release the recommender again")
