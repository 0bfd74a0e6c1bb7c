"""The frame that each contract is checked on: a table, some columns of a large one, or aggregated figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.contracts.checks import read_columns
from orchestration.contracts.files import Contract
from orchestration.contracts.results import ContractResult
from orchestration.paths import DatasetPaths, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.training_set import TrainingSet


# What contracts read beside their own asset and what that was made of.
READS = {"training_sets/sequences": ("settings/ranking",)}


def load_frame(contract: Contract, dataset: str) -> pd.DataFrame:
    """Load the frame of a contract for one dataset.

    The list of files of a landing; a table of the warehouse; of a ``drift`` contract the comparison with the
    accepted state, one row; of a training set its sizes, one row.

    Raises:
        FileNotFoundError: the asset was not made.
    """
    paths = Workspace.current().dataset(dataset)
    layer, name = contract.key.path
    if contract.check == "drift":
        return _drift(paths, name.removeprefix("stg_"))
    if layer == "training_sets":
        return _sizes(paths)
    if layer == "landing":
        return landed_files(paths.asset(layer, name), contract)
    frame = read_columns(paths.table(layer, name), contract.columns)
    return one_test_item_a_user(frame, dataset) if (layer, name) == ("marts", "splits") else frame


def one_test_item_a_user(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The splits with one of the test items of each user under ``test``, where the settings ask for several: those
    after it are ``further test``, up to as many as are asked for."""
    from ml.data.variants import LEAVE_LAST_K
    from orchestration.dataset_settings import read_settings

    if "split" not in frame or "user_id" not in frame:
        return frame
    tested = frame[frame["split"] == "test"]
    place = tested.groupby("user_id").cumcount()
    if not (place > 0).any() or (settings := read_settings("dataset", dataset))["split"] != LEAVE_LAST_K:
        return frame
    further = tested.index[place % settings["last_items"] > 0]
    return frame.assign(split=frame["split"].mask(frame.index.isin(further), "further test"))


def results_folder(paths: DatasetPaths) -> Path:
    """Folder of the latest Great Expectations result of each contract of a dataset, ``<layer>/<name>.json``."""
    return paths.home / "contract_results" / paths.dataset


def keep_result(result: ContractResult, dataset: str) -> None:
    """Save a result of Great Expectations for the Data Docs."""
    from ml.data.files import atomic_file

    path = results_folder(Workspace.current().dataset(dataset)) / f"{result.contract.name}.json"
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(result.validation, indent=1) + "\n")


def landed_files(folder: Path, contract: Contract) -> pd.DataFrame:
    """The list of files of a landing folder, each with the reasons of its rejects in words."""
    from ml.data.landing.rejects import in_words

    frame = read_columns(folder / "files.parquet", contract.columns)
    words = in_words(folder, dict(zip(frame["source_file"], frame["rows_read"], strict=True)))
    return frame.assign(reject_reasons=[words.get(name, "") for name in frame["source_file"]])


def _drift(paths: DatasetPaths, kind: str) -> pd.DataFrame:
    import pandas as pd

    from ml.data.drift import compare

    found = compare(kind, paths.table("staging", f"stg_{kind}"), paths.asset("marts", "accepted") / kind)
    frame = pd.DataFrame([found.row])
    frame.attrs["note"] = found.note
    return frame


def _sizes(paths: DatasetPaths) -> pd.DataFrame:
    """Sizes of a training set and of the marts that it was made from."""
    import numpy as np
    import pandas as pd

    from ml.data.training_set import TrainingSet
    from orchestration.dataset_settings import read_settings

    training_set = TrainingSet.load(paths.asset("training_sets", "sequences"))
    marts = read_columns(paths.table("marts", "statistics"), ["users", "items", "users_with_test"]).iloc[0]
    learned = np.bincount(training_set.train.items, minlength=training_set.items) > 0
    return pd.DataFrame(
        {
            "users": [training_set.users],
            "items": [training_set.items],
            "train_interactions": [len(training_set.train.items)],
            "validation_cases": [len(training_set.validation_users)],
            "test_cases": [len(training_set.with_every_test_case().test_users)],
            "test_targets": [len(training_set.held_out().items)],
            "items_never_trained": [training_set.items - int(learned.sum())],
            "users_in_marts": [int(marts["users"])],
            "items_in_marts": [int(marts["items"])],
            "test_cases_in_marts": [int(marts["users_with_test"])],
            "seen_targets": [seen_targets(training_set)],
            "exclude_seen": [bool(read_settings("ranking", paths.dataset)["exclude_seen"])],
        }
    )


def seen_targets(training_set: TrainingSet) -> int:
    """Test targets that are in the history of their user."""
    from ml.data.seen_targets import in_history

    return int(in_history(training_set).sum())
