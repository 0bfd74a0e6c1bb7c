"""The sequence models: one asset for each recipe."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.extras import MissingExtra, require
from ml.models.settings import needs_item_text, needs_text_vectors
from ml.objectives.settings import describe
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import recipe_file, recipes
from ml.training.recipe import Recipe
from ml.training.summary import facts_of_trained, version_of_trained
from orchestration.assets.left_out import lacking, left_out
from orchestration.assets.pretrained import shared_with_sources
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_lock import descriptor_of, shared_with_children
from orchestration.dataset_settings import chosen_for, execution_of, read_settings
from orchestration.execution.training_pods import PodError, PodSettings, pod_settings, wait_until_seen
from orchestration.execution.training_process import command, failure_told_by, reporting
from orchestration.execution.trainings import Trainings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, as_dagster_failure, materialization
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen
from orchestration.warm_start import saved_start, start_of

if TYPE_CHECKING:
    import numpy as np

# sequences that a training reads in the ten seconds or so that a process costs, imports and all
_SEQUENCES_WORTH_A_PROCESS = 50_000


def _model_asset(recipe: Recipe) -> dg.AssetsDefinition:
    code = code_version("ml.training.train", *modules_of(recipe.name))
    deps = [["training_sets", "sequences"], ["settings", "training"], ["settings", "fit"], ["settings", "ranking"]]
    deps += [*_built_on(recipe).values(), *_read_beside_sequences(recipe).values()]

    @dg.asset(
        key=["models", recipe.name],
        deps=deps,
        description=f"{recipe.title}. Trained from the recipe {recipe.name}; the weights of the epoch with the best "
        f"validation nDCG@10, ranked for as the test users are. Source: {recipe.source}",
        group_name=group_of("models", recipe.name),
        kinds={"pytorch"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        # what decides the weights besides the data: the code and the recipe, not its prose
        code_version=f"{code}-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                weights=("safetensors", "named tensors, in model.safetensors"),
                configuration=("json", "the recipe and what is needed to load the weights, in config.json"),
                log=("json lines", "loss and validation nDCG@10 of each epoch, in training_log.jsonl"),
                validation_lists=("npy", "the best items for each validation user, for fusions"),
            )
        },
    )
    def model(
        context: dg.AssetExecutionContext,
        settings: Settings,
        training_client: dg.PipesSubprocessClient,
        trainings: dg.ResourceParam[Trainings],
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        folder = paths.asset("models", recipe.name)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        with as_dagster_failure(dataset, ValueError):
            shared = shared_with_sources(paths) if recipe.pretraining else {}
            pods = pod_settings()
        where = execution_of(settings, dataset)
        options = {
            "seed": read_settings("training", dataset)["seed"],
            "fit_on": read_settings("fit", dataset)["fit_on"],
            "exclude_seen": read_settings("ranking", dataset)["exclude_seen"],
            "device": where["device"],
            "precision": where["precision"],
            "sharding": where["sharding"],
            "compile": where["compile"],
            "threads": where["threads"],
            "checkpoint_seconds": float(os.environ.get("RAW2RANK_CHECKPOINT_SECONDS", "60")),
        }
        processes = where["training_processes"]
        if pods is not None:
            version, facts = _train_in_a_pod(context, pods, recipe, paths, options, processes)
        elif where["training_process"] == "subprocess" or processes > 1:
            version, facts = _train_in_a_process(context, training_client, recipe, paths, options, processes)
        elif _starts_ahead(context, trainings, recipe, settings, options):
            failure = trainings.finish(recipe.name, context.log.info)
            if failure is not None:
                raise _failed(paths, recipe, failure)
            version, facts = version_of_trained(folder), facts_of_trained(folder)
        else:
            _train_here(recipe, paths, options, context.log.info)
            version, facts = version_of_trained(folder), facts_of_trained(folder)
        return materialization(version, {**facts, **_shown(recipe, paths), **shared})

    return model


def _built_on(recipe: Recipe) -> dict[str, list[str]]:
    """Keys of the assets that a model is built on, by the option of the training that takes them."""
    pretrained = recipe.name if recipe.pretraining else None
    named = {"codes": recipe.codes, "teacher_lists": recipe.teacher_lists, "pretrained": pretrained}
    return {option: [option, name] for option, name in named.items() if name}


def _read_beside_sequences(recipe: Recipe) -> dict[str, list[str]]:
    """Keys of the assets of the items' text and of times that a model reads, by the option of the training command that
    takes them."""
    read = {
        "item_text": needs_item_text(recipe.model),
        "text_vectors": needs_text_vectors(recipe.model),
        "times": recipe.reads_times,
    }
    return {option: ["training_sets", option] for option, is_read in read.items() if is_read}


def _train_here(recipe: Recipe, paths: DatasetPaths, options: dict, say: Callable[[str], None]) -> None:
    from ml.codes.codes import Codes
    from ml.data.teacher_lists import TeacherLists
    from ml.training.loop import DivergedError
    from ml.training.pretrained import Pretrained
    from ml.training.train import train

    loaders: dict[str, Callable[[Path], Any]] = {
        "codes": Codes.load,
        "teacher_lists": TeacherLists.load,
        "pretrained": Pretrained.load,
    }
    chosen = dict(options)
    seen = chosen.pop("exclude_seen")
    with as_dagster_failure(paths.dataset, DivergedError, ValueError):
        inputs = {option: loaders[option](paths.asset(*key)) for option, key in _built_on(recipe).items()}
        training_set = load_training_set(
            paths,
            needs_item_text(recipe.model),
            needs_text_vectors(recipe.model),
            recipe.reads_times,
        )
        train(
            recipe,
            training_set,
            paths.asset("models", recipe.name),
            **inputs,
            start=start_of(paths, recipe.name, training_set),
            validate_with_seen_excluded=seen,
            tell=lambda record: say(record.in_words()),
            **chosen,
        )


def _train_in_a_process(
    context: dg.AssetExecutionContext,
    client: dg.PipesSubprocessClient,
    recipe: Recipe,
    paths: DatasetPaths,
    options: dict,
    processes: int,
) -> tuple[str, dict[str, Any]]:
    """The same by the training command, whose lines come to the log of the run; the data version and the facts that it
    reported.

    Raises:
        dg.Failure: in the words of the training.
    """
    started = reporting(
        paths.asset("models", recipe.name),
        _command(recipe, paths, options, processes),
    )
    # where the run alone is killed, the dataset stays locked until the training has ended too
    with shared_with_children(paths):
        invocation = client.run(context=context, command=started)
    return _reported(invocation, recipe, paths)


def _train_in_a_pod(
    context: dg.AssetExecutionContext,
    pods: PodSettings,
    recipe: Recipe,
    paths: DatasetPaths,
    options: dict,
    processes: int,
) -> tuple[str, dict[str, Any]]:
    """The same in a pod of a Kubernetes cluster.

    Raises:
        dg.Failure: in the words of the training, or why the cluster has not trained.
    """
    folder = paths.asset("models", recipe.name)
    with as_dagster_failure(f"{paths.dataset}: {recipe.name}", PodError, MissingExtra):
        require("kubernetes", "a training in a pod")
        from orchestration.execution.pod_client import TrainingPods

        started = reporting(folder, _command(recipe, paths, options, processes))
        invocation = TrainingPods(pods).train(context, started, folder, paths.home, recipe.name)
        version, facts = _reported(invocation, recipe, paths)
        wait_until_seen(folder, version)
    return version, facts


def _reported(invocation: Any, recipe: Recipe, paths: DatasetPaths) -> tuple[str, dict[str, Any]]:
    """Data version and facts that a training has reported through Pipes.

    Raises:
        dg.Failure: it has failed, in its words.
    """
    if (failure := failure_told_by(invocation.get_custom_messages())) is not None:
        raise _failed(paths, recipe, failure)
    reported = invocation.get_materialize_result()
    if reported.data_version is None:
        raise _failed(paths, recipe, "the training reported no version of its weights")
    return reported.data_version.value, dict(reported.metadata or {})


def _starts_ahead(
    context: dg.AssetExecutionContext, trainings: Trainings, recipe: Recipe, settings: Settings, options: dict
) -> bool:
    """Start the trainings of this run that can start, this one among them; whether this one was started.

    One that can start only after others, as that of a student of one of them, starts none of these again. Nothing is
    started where there is one core or one training, on a GPU, which one training fills, and where all of a training
    takes less than a process takes to start.
    """
    if recipe.name in trainings:
        return True
    if trainings.at_once(options["threads"]) < 2 or options["device"] != "cpu":
        return False
    paths = Workspace.current().dataset(context.partition_key)
    lengths = load_training_set(paths).train.lengths
    ready = [
        other
        for other in _of_this_run(context, settings)
        if (other == recipe or not trainings.has_finished(other.name)) and _worth_a_process(other, lengths)
    ]
    if len(ready) < 2 or recipe not in ready:
        return False
    for each in ready:
        trainings.start(each.name, _command(each, paths, options), descriptor_of(paths), options["threads"])
    return True


def _of_this_run(context: dg.AssetExecutionContext, settings: Settings) -> list[Recipe]:
    """Recipes that this run is to train and whose codes, teacher lists, item text and times are there: not of this run,
    or made by it already."""
    selected = context.job_def.asset_layer.executable_asset_keys
    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    chosen = [name for name in chosen_for(settings, dataset) if name in recipes()]

    def is_there(path: list[str]) -> bool:
        key = dg.AssetKey(path)
        if key not in selected:
            return True
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[dataset]), limit=1
        ).records
        return bool(records) and records[0].event_log_entry.run_id == context.run_id

    wanted = [recipes()[name] for name in chosen if dg.AssetKey(["models", name]) in selected]
    return [
        recipe
        for recipe in wanted
        if all(map(is_there, [*_built_on(recipe).values(), *_read_beside_sequences(recipe).values()]))
        and lacking(recipe.name, paths) is None
    ]


def _worth_a_process(recipe: Recipe, lengths: "np.ndarray") -> bool:
    """Whether training lasts longer than it takes to start a process, by the sequences that it may see.

    Args:
        recipe: that is to be trained.
        lengths: items of each training history, int64 ``[histories]``.
    """
    from ml.training.derived import derive

    derived, _ = derive(recipe, lengths)
    return derived.training.max_epochs * len(lengths) >= _SEQUENCES_WORTH_A_PROCESS


def _command(recipe: Recipe, paths: DatasetPaths, options: dict, processes: int = 1) -> list[str]:
    read: dict[str, Any] = {option: paths.asset(*key) for option, key in _read_beside_sequences(recipe).items()}
    return command(
        recipe=recipe_file(recipe.name),
        training_set=paths.asset("training_sets", "sequences"),
        out=paths.asset("models", recipe.name),
        codes=paths.asset("codes", recipe.codes) if recipe.codes else None,
        teacher_lists=paths.asset("teacher_lists", recipe.teacher_lists) if recipe.teacher_lists else None,
        pretrained=paths.asset("pretrained", recipe.name) if recipe.pretraining else None,
        processes=processes,
        start=saved_start(paths, recipe.name, load_training_set(paths)),
        **read,
        **options,
    )


def _failed(paths: DatasetPaths, recipe: Recipe, failure: str) -> dg.Failure:
    return dg.Failure(description=f"{paths.dataset}: {recipe.name}: {failure}", allow_retries=False)


def _shown(recipe: Recipe, paths: DatasetPaths) -> dict:
    """Objective and training curves, as metadata."""
    from ml.reports.collect.report import training_curve
    from ml.reports.render.plots import report as plots

    objective = describe(recipe.objective)
    options = [f"{name} {value}" for name, value in asdict(recipe.task).items()]
    curves = (training_curve(paths.asset("models", recipe.name), recipe.title, objective, None),)
    return {
        "task": ", ".join([recipe.task_name, *options]).replace("_", " "),
        "objective": objective,
        "validation curve": dg.MetadataValue.md(plots.markdown_image(plots.validation_curves(curves))),
        "loss curve": dg.MetadataValue.md(plots.markdown_image(plots.loss_curves(curves))),
    }


model_assets = [_model_asset(recipe) for recipe in recipes().values()]
