"""Code assignments: each item's place in a few small code books, shared by the models that are built on them."""

import dagster as dg

from orchestration.assets.settings import read_settings
from orchestration.assets.training_sets import load_training_set
from orchestration.automation import on_new_data
from orchestration.code_versions import code_version
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, materialization


@dg.asset(
    key=["codes", "svd"],
    deps=[["training_sets", "sequences"], ["settings", "training"]],
    description="RecJPQ codes by truncated SVD of the training histories: items with the same users get like codes. "
    "With a report on the use of each code book and on collisions.",
    group_name="codes",
    kinds={"scikitlearn", "numpy"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version("ml.codes.svd"),
    metadata={
        "dagster/column_schema": array_schema(values=("uint8 [items, books]", "code of each item in each code book"))
    },
)
def svd(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.codes.svd import assign_svd_codes
    from ml.data.files import atomic_folder

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    codes = assign_svd_codes(load_training_set(paths), seed=read_settings("training", dataset)["seed"])
    folder = paths.asset("codes", "svd")
    with atomic_folder(folder) as temporary:
        codes.save(temporary)
    report = codes.report
    return materialization(
        codes.digest(),
        {
            "dagster/row_count": codes.items,
            "dagster/uri": str(folder),
            "books": codes.books,
            "items_in_collisions": report["items_in_collisions"],
            "largest_collision": report["largest_collision"],
            "never_seen_in_training": report["items_never_seen_in_training"],
            "use_of_code_books": dg.MetadataValue.md(_table(report["by_book"])),
        },
    )


def _table(books: list[dict]) -> str:
    lines = ["| book | codes used | entropy, bits | items of the fullest code |", "|---:|---:|---:|---:|"]
    lines += [
        f"| {book['book']} | {book['codes_used']} | {book['entropy_bits']:.2f} | {book['largest_code_items']} |"
        for book in books
    ]
    return "\n".join(lines)


codes_assets = [svd]
