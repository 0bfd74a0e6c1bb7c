"""Codes of the items: one asset a recipe of codes, shared by the models that are built on it."""

from typing import TYPE_CHECKING

import dagster as dg

from ml.codes.recipe import CodesRecipe
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import codes_recipes, layer_of
from orchestration.assets.learned_from import SETTINGS, learned_from, reads_text_to_fit, reads_times_to_fit
from orchestration.assets.left_out import left_out
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, as_dagster_failure, materialization
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen

if TYPE_CHECKING:
    import numpy as np

    from ml.tables import Table


def _codes_asset(recipe: CodesRecipe) -> dg.AssetsDefinition:
    sources = recipe.needs_recipes
    with_text = recipe.needs_text or any(map(reads_text_to_fit, sources))
    with_times = any(map(reads_times_to_fit, sources))
    deps = [["training_sets", "sequences"], *(SETTINGS if sources else (["settings", "training"],))]
    deps += [[layer_of(source), source] for source in sources]
    deps += [["training_sets", "item_text"], ["training_sets", "text_vectors"]] if with_text else []
    deps += [["training_sets", "times"]] if with_times else []
    fitted_by = ["ml.recommenders.item_vectors", *(module for source in sources for module in modules_of(source))]

    @dg.asset(
        key=["codes", recipe.name],
        deps=deps,
        description=f"Codes: {recipe.title}. {recipe.description} Assigned on the training items alone, whatever "
        "models are fitted on; made where a chosen recipe needs them. With a report on the use of each code book, "
        "on collisions, on prefixes, and on what the codes know of neighbours and categories. "
        f"Source: {recipe.source}.",
        group_name=group_of("codes", recipe.name),
        kinds={"python", "numpy"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        # what decides the codes besides the data: the code and the recipe, not its prose
        code_version=f"{code_version(*recipe.modules, *(fitted_by if sources else ()))}-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                values=("uint8 or uint16 [items, books]", "code of each item in each code book")
            )
        },
    )
    def assigned(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.versions import versioned_folder
        from ml.reports.collect.codes import codes_report
        from ml.reports.words.codes import books, knowledge, prefixes

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        # where the dataset lacks what a model needs whose vectors they are made of
        if (skipped := left_out(context, settings)) is not None:
            return skipped

        def trained(source: str) -> "np.ndarray":
            from ml.data.training_set import FIT_ON_TRAIN
            from ml.recommenders.item_vectors import item_vectors

            purpose = f"the codes {recipe.name}"
            return item_vectors(
                learned_from(source, FIT_ON_TRAIN, training_set, paths, settings, context.log.info, purpose)
            )

        with as_dagster_failure(dataset, ValueError):
            training_set = load_training_set(paths, with_vectors=with_text, with_times=with_times)
            codes = recipe.assign(training_set, read_settings("training", dataset)["seed"], trained)
        folder = paths.asset("codes", recipe.name)
        with versioned_folder(folder) as temporary:
            codes.save(temporary)
        shown = codes_report(recipe.name, codes.method, codes.report)
        tables = {
            "use_of_code_books": books(shown),
            "prefixes": prefixes(shown),
            "knowledge_of_the_items": knowledge([shown]),
        }
        return materialization(
            codes.digest(),
            {
                "dagster/row_count": codes.items,
                "dagster/uri": str(folder),
                "books": codes.books,
                "book_sizes": list(codes.book_sizes),
                "method": dg.MetadataValue.json(codes.method),
                **{name: dg.MetadataValue.md(_markdown(table)) for name, table in tables.items() if table},
                **{
                    name: value
                    for name, value in codes.report.items()
                    if isinstance(value, int | float) and name not in ("items", "books")
                },
            },
        )

    return assigned


def _markdown(table: "Table") -> str:
    from ml.reports.render.markdown.table import markdown_table

    return f"{markdown_table(table)}\n\n{table.note}" if table.note else markdown_table(table)


codes_assets = [_codes_asset(recipe) for recipe in codes_recipes().values()]
