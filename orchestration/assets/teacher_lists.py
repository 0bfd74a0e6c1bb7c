"""Teacher lists: one asset a recipe of them, shared by the models that are taught them."""

import dagster as dg

from ml.recommenders.modules import modules_of
from ml.recommenders.registry import layer_of, parts_of, teacher_lists_recipes, title_of
from ml.teaching.recipe import TeacherListsRecipe
from orchestration.assets.learned_from import SETTINGS, learned_from, reads_text_to_fit, reads_times_to_fit
from orchestration.assets.left_out import left_out
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, as_dagster_failure, materialization, parquet_metadata
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen

COLUMNS = {
    "user_index": "user whose history it is the start of",
    "start": "first place of the sub-history in the flat items of the training histories",
    "end": "the place after its last item",
    "tradeoff": "0 for the teacher's own list, above that re-ranked, 1 for the goal alone",
    "items": "the list, best first; -1 where a small catalogue has no more",
    "scores": "the teacher's own scores of the listed items",
}


def _teacher_lists_asset(recipe: TeacherListsRecipe) -> dg.AssetsDefinition:
    teacher = recipe.teacher
    with_text = recipe.needs_text or reads_text_to_fit(teacher)
    with_times = reads_times_to_fit(teacher)
    deps = [
        *([layer_of(part), part] for part in dict.fromkeys((teacher, *parts_of(teacher)))),
        ["training_sets", "sequences"],
        *SETTINGS,
    ]
    deps += [["training_sets", "item_text"], ["training_sets", "text_vectors"]] if with_text else []
    deps += [["training_sets", "times"]] if with_times else []

    @dg.asset(
        key=["teacher_lists", recipe.name],
        deps=deps,
        description=f"{recipe.title}: lists of {title_of(teacher)} for sub-histories of the training users, which the "
        "models that name them are taught to write. Made where a chosen recipe needs them. "
        f"Source: {recipe.source}",
        group_name=group_of("teacher_lists", recipe.name),
        kinds={"parquet"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        # what decides the lists besides the teacher: the code and the recipe, not its prose
        code_version=f"{code_version('ml.teaching.make_lists', *modules_of(teacher))}-{recipe.digest()[:12]}",
    )
    def lists(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.teacher_lists import file_of
        from ml.data.training_set import FIT_ON_TRAIN
        from ml.data.versions import versioned_folder
        from ml.recommender import Recommender
        from ml.teaching.make_lists import make_teacher_lists, teachers_of

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        seed = read_settings("training", dataset)["seed"]
        fit_on = read_settings("fit", dataset)["fit_on"]
        exclude_seen = read_settings("ranking", dataset)["exclude_seen"]

        def fitted_teacher(on: str) -> Recommender:
            return learned_from(
                teacher, on, training_set, paths, settings, context.log.info, "the lists of the student's search"
            )

        with as_dagster_failure(dataset, ValueError):
            training_set = load_training_set(paths, with_vectors=with_text, with_times=with_times)
            made = make_teacher_lists(recipe, teachers_of(fitted_teacher, fit_on), training_set, seed, exclude_seen)
        folder = paths.asset("teacher_lists", recipe.name)
        with versioned_folder(folder) as temporary:
            made.save(temporary)
        quality = made.teacher_validation_ndcg_at_10
        return materialization(
            made.digest(),
            {
                **parquet_metadata(folder / file_of(FIT_ON_TRAIN), COLUMNS),
                "sub_histories": len(made.of(FIT_ON_TRAIN)),
                "teacher": teacher,
                "teacher's validation ndcg@10": "no validation users" if quality is None else quality,
                "tradeoffs": list(made.tradeoffs),
                "goal": made.goal or "none",
                "exclude_seen": exclude_seen,
                "fit_on": list(made.tables),
            },
        )

    return lists


teacher_lists_assets = [_teacher_lists_asset(recipe) for recipe in teacher_lists_recipes().values()]
