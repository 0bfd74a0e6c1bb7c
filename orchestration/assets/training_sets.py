"""Training sets: sequences as arrays, item text, and both as a Hugging Face dataset.

The door between data and training: nothing passes before the blocking checks above it have passed.
"""

import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.text.registry import DEFAULT_ENCODER, ENCODERS
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import read_settings
from orchestration.execution.staleness import require_passed_checks
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import (
    DATA_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of,
    digest_of_files,
    materialization,
    parquet_metadata,
)
from orchestration.temporal_folds import asks_for_folds, folds_of

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet

_common: dict[str, Any] = {
    "group_name": "training_sets",
    "owners": DATA_OWNERS,
    "partitions_def": datasets,
    "automation_condition": on_new_data,
}


@dg.asset(
    key=["training_sets", "sequences"],
    # the interactions for what the protocol says of their order
    deps=[["marts", "splits"], ["marts", "interactions"], ["settings", "dataset"], ["settings", "folds"]],
    description="Per-user item sequences as memory-mapped arrays, with the held-out items of validation and test. "
    "Indices are 0-based, by ascending identity. Under temporal-folds those of the last fold; none is made where "
    "one of the folds cannot be fitted or tested.",
    kinds={"numpy"},
    code_version=code_version("ml.data.build_training_set", "ml.data.protocol", "ml.data.folds"),
    metadata={
        "dagster/column_schema": array_schema(
            item_ids=("bytes [items]", "identity of each item index"),
            user_ids=("bytes [users]", "identity of each user index"),
            train_items=(
                "int32 [train interactions]",
                "training items of all users end to end, oldest first",
            ),
            train_offsets=("int64 [users + 1]", "where each user starts in train_items"),
            validation_users=("int32 [validation cases]", "users with an item held out for validation"),
            validation_targets=("int32 [validation cases]", "that item"),
            test_users=("int32 [test cases]", "users with an item held out for the test, or a sample of them"),
            test_targets=("int32 [test cases]", "that item, of several the first"),
            later_targets_items=("int32 [items]", "the other test targets, where the split holds out several a user"),
            later_targets_offsets=("int64 [test cases + 1]", "where each case starts in them"),
            before_validation_items=("int32 [items]", "known before the validation targets, not trained on"),
            before_validation_offsets=("int64 [validation cases + 1]", "where each case starts in them"),
            before_test_items=("int32 [items]", "known before the test targets, not trained on"),
            before_test_offsets=("int64 [test cases + 1]", "where each case starts in them"),
            unmeasured_users=("int32 [unmeasured cases]", "the other users with such an item, where there is a sample"),
            unmeasured_targets=("int32 [unmeasured cases]", "as test_targets"),
            unmeasured_before_items=("int32 [items]", "as before_test_items"),
            unmeasured_before_offsets=("int64 [unmeasured cases + 1]", "where each case starts in them"),
            unmeasured_later_items=("int32 [items]", "as later_targets_items"),
            unmeasured_later_offsets=("int64 [unmeasured cases + 1]", "where each case starts in them"),
            whole_items=("int32 [interactions]", "all items of all users end to end, where the split leaves some out"),
            whole_offsets=("int64 [users + 1]", "where each user starts in them"),
        )
    },
    **_common,
)
def sequences(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.build_training_set import SplitError, build_training_set
    from ml.data.folds import FoldError, check_folds, fold_sizes
    from ml.data.protocol import split_protocol
    from ml.data.versions import versioned_folder

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    require_passed_checks(context)
    settings = read_settings("dataset", dataset) | read_settings("folds", dataset)
    protocol = split_protocol(settings, paths.table("marts", "interactions"))
    with as_dagster_failure(dataset, SplitError, FoldError):
        training_set = build_training_set(dataset, paths.table("marts", "splits"), protocol)
        # of all folds, before anything is trained for the first
        if asks_for_folds(dataset):
            folds, interactions = folds_of(paths, training_set)
            check_folds(fold_sizes(training_set, interactions, fold) for fold in folds)
    folder = paths.asset("training_sets", "sequences")
    with versioned_folder(folder) as temporary:
        training_set.save(temporary)
    lengths = training_set.train.lengths
    return materialization(
        training_set.digest(),
        {
            "dagster/row_count": len(training_set.train.items),
            "dagster/uri": str(folder),
            "users": training_set.users,
            "items": training_set.items,
            "validation_cases": len(training_set.validation_users),
            "test_cases": len(training_set.test_users),
            "mean_history": float(lengths.mean()),
            "longest_history": int(lengths.max()),
        },
    )


@dg.asset(
    key=["training_sets", "protocol"],
    # the version of the sequences is of the arrays alone, which may be equal under another protocol
    deps=[["training_sets", "sequences"], ["marts", "interactions"], ["settings", "dataset"]],
    description="How the training set was made, in the words of the protocol line: rules of cleaning, order of ties, "
    "split. Another rule with equal sequences is another protocol: what states it is made again, and no model is "
    "trained.",
    kinds={"json"},
    code_version=code_version("ml.data.protocol"),
    metadata={"dagster/column_schema": array_schema(protocol=("json", "each choice and its value"))},
    **_common,
)
def protocol(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.files import atomic_file

    paths = Workspace.current().dataset(context.partition_key)
    values = load_training_set(paths).protocol
    path = paths.asset("training_sets") / "protocol.json"
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return materialization(
        digest_of(values),
        {"dagster/row_count": len(values), "dagster/uri": str(path), "protocol": dg.MetadataValue.json(values)},
    )


@dg.asset(
    key=["training_sets", "item_text"],
    deps=[["marts", "items"], ["training_sets", "sequences"]],
    description="Text of each item of the catalogue: by the template of the source, or `Title: … Brand: … Category: … "
    "Price: …`, with “Unknown” where something is missing.",
    kinds={"parquet"},
    code_version=code_version("ml.data.item_text"),
    **_common,
)
def item_text(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data import item_text as library
    from ml.data.content_digest import parquet_digest
    from ml.data.training_set import TrainingSet
    from ml.data.versions import versioned_folder

    paths = Workspace.current().dataset(context.partition_key)
    require_passed_checks(context)
    training_set = TrainingSet.load(paths.asset("training_sets", "sequences"))
    texts = library.item_texts(paths.table("marts", "items"), training_set.item_ids)
    folder = paths.asset("training_sets", "item_text")
    with versioned_folder(folder) as temporary:
        library.save_item_text(temporary, training_set.item_ids, texts)
    (table,) = folder.glob("*.parquet")
    return materialization(parquet_digest(table), {**parquet_metadata(table), "example": texts[0]})


@dg.asset(
    key=["training_sets", "hugging_face"],
    # its card states the protocol, of which the version of the sequences says nothing
    deps=[["training_sets", name] for name in ("sequences", "protocol", "item_text")],
    description="The training set in the layout that `datasets.load_dataset` reads: users as text to fine-tune on, "
    "and prompts with their targets for validation and test.",
    kinds={"huggingface", "parquet"},
    code_version=code_version("ml.data.hugging_face"),
    **_common,
)
def hugging_face(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.hugging_face import export
    from ml.data.versions import versioned_folder

    paths = Workspace.current().dataset(context.partition_key)
    folder = paths.asset("training_sets", "hugging_face")
    with versioned_folder(folder) as temporary:
        export(load_training_set(paths, with_text=True), temporary)
    parts = {path.name: parquet_metadata(path) for path in sorted(folder.glob("data/*.parquet"))}
    train = next(metadata for name, metadata in parts.items() if name.startswith("train"))
    return materialization(
        digest_of_files(folder, "data/*.parquet", "README.md"),
        {
            **train,
            "dagster/uri": str(folder),
            "dagster/row_count": sum(metadata["dagster/row_count"] for metadata in parts.values()),
            "rows": {name: metadata["dagster/row_count"] for name, metadata in parts.items()},
        },
    )


@dg.asset(
    key=["training_sets", "text_vectors"],
    deps=[["training_sets", "sequences"], ["training_sets", "item_text"]],
    description="Vectors of the item text, computed once for all that compare items by what they are called: of the "
    "whole text for recommenders and audits; of title, brand and category alone for the diversity of lists.",
    kinds={"numpy"},
    code_version=code_version("ml.text.vectors", ENCODERS[DEFAULT_ENCODER].module),
    metadata={
        "dagster/column_schema": array_schema(
            tf_idf_svd=(
                "float32 [items, at most 256]",
                "of the whole text: TF-IDF and SVD, rows of length 1",
            ),
            names=("float32 [items, at most 64]", "the same of title, brand and category, without their labels"),
        )
    },
    **_common,
)
def text_vectors(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.versions import versioned_folder
    from ml.text.vectors import save_text_vectors, usefulness_of_text

    paths = Workspace.current().dataset(context.partition_key)
    training_set = load_training_set(paths, with_text=True)
    folder = paths.asset("training_sets", "text_vectors")
    with versioned_folder(folder) as temporary:
        vectors = save_text_vectors(temporary, training_set)
    return materialization(
        digest_of_files(folder, "*"),
        {
            "dagster/row_count": training_set.items,
            "dagster/uri": str(folder),
            "dimensions": {name: array.shape[1] for name, array in vectors.items()},
            "text for models": usefulness_of_text(training_set),
            "items without a word": int((~next(iter(vectors.values())).any(axis=1)).sum()),
            "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        },
    )


@dg.asset(
    key=["training_sets", "times"],
    deps=[["marts", "splits"], ["training_sets", "sequences"]],
    description="When each interaction of the training set took place, for the models that read it. Apart from the "
    "sequences, which most recommenders read alone. Without arrays where the source lacks a time.",
    kinds={"numpy"},
    code_version=code_version("ml.data.times"),
    metadata={
        "dagster/column_schema": array_schema(
            train=("int64 [train interactions]", "seconds since 1970, as train_items of the sequences"),
            validation=("int64 [validation cases]", "of the validation targets"),
            before_validation=("int64 [items]", "as before_validation_items"),
            before_test=("int64 [items]", "as before_test_items"),
        )
    },
    **_common,
)
def times(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data import times as library
    from ml.data.versions import versioned_folder

    paths = Workspace.current().dataset(context.partition_key)
    require_passed_checks(context)
    training_set = load_training_set(paths)
    built = library.build_times(paths.table("marts", "splits"), training_set)
    folder = paths.asset("training_sets", "times")
    with versioned_folder(folder) as temporary:
        library.save_times(temporary, built, training_set)
    timed = training_set if built is None else built.added_to(training_set)
    return materialization(
        digest_of_files(folder, "*"),
        {
            "dagster/row_count": 0 if built is None else len(built.train),
            "dagster/uri": str(folder),
            "why models cannot learn from them": library.why_not_real(timed.train) or "they can: the times are real",
        },
    )


def load_training_set(
    paths: DatasetPaths, with_text: bool = False, with_vectors: bool = False, with_times: bool = False
) -> "TrainingSet":
    """The training set of a dataset as the assets above left it.

    Args:
        paths: of the dataset.
        with_text: with its item text.
        with_vectors: with its item text and the vectors of it.
        with_times: with the times of interactions, where the source has them.
    """
    from ml.data.item_text import load_item_text
    from ml.data.training_set import TrainingSet

    training_set = TrainingSet.load(paths.asset("training_sets", "sequences"))
    if with_text or with_vectors:
        training_set = training_set.with_text(load_item_text(paths.asset("training_sets", "item_text")))
    if with_vectors:
        from ml.text.vectors import load_text_vectors

        training_set = load_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)
    if with_times:
        from ml.data.times import load_times

        training_set = load_times(paths.asset("training_sets", "times"), training_set)
    return training_set


training_set_assets = [sequences, protocol, times, item_text, text_vectors, hugging_face]
