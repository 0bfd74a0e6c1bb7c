"""Code assignments: each item's place in a few small code books, shared by the models that are built on them."""

import dagster as dg

from ml.codes import ASSIGNMENTS, Assignment
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, materialization, told_plainly
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen


def _codes_asset(assignment: Assignment) -> dg.AssetsDefinition:
    @dg.asset(
        key=["codes", assignment.name],
        deps=[["training_sets", "sequences"], ["settings", "training"]],
        description=f"RecJPQ codes: {assignment.title}. {assignment.description} Assigned on the training items alone, "
        "whatever models are fitted on; made where a chosen recipe needs them. With a report on the use of each code "
        f"book and on collisions. Source: {assignment.source}.",
        group_name=group_of("codes", assignment.name),
        kinds={"python", "numpy"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version("ml.codes.codes", assignment.path.split(":")[0]),
        metadata={
            "dagster/column_schema": array_schema(
                values=("uint8 [items, books]", "code of each item in each code book")
            )
        },
    )
    def assigned(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.files import atomic_folder

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        with told_plainly(dataset, ValueError):
            codes = assignment.assign(load_training_set(paths), seed=read_settings("training", dataset)["seed"])
        folder = paths.asset("codes", assignment.name)
        with atomic_folder(folder) as temporary:
            codes.save(temporary)
        report = codes.report
        return materialization(
            codes.digest(),
            {
                "dagster/row_count": codes.items,
                "dagster/uri": str(folder),
                "books": codes.books,
                "method": dg.MetadataValue.json(codes.method),
                "use_of_code_books": dg.MetadataValue.md(_table(report["by_book"])),
                **{
                    name: value
                    for name, value in report.items()
                    if isinstance(value, int | float) and name not in ("items", "books")
                },
            },
        )

    return assigned


def _table(books: list[dict]) -> str:
    lines = ["| book | codes used | entropy, bits | items of the fullest code |", "|---:|---:|---:|---:|"]
    lines += [
        f"| {book['book']} | {book['codes_used']} | {book['entropy_bits']:.2f} | {book['largest_code_items']} |"
        for book in books
    ]
    return "\n".join(lines)


codes_assets = [_codes_asset(assignment) for assignment in ASSIGNMENTS.values()]
