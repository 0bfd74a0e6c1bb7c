"""When things are re-made without being asked: the condition of the assets, a sensor and a schedule."""

import dagster as dg

_condition = dg.AutomationCondition

# Re-make an asset when the data version of something it reads has changed (not merely when it was made again),
# when its code has changed or when it is missing; never while something above it is missing, under way or has
# failed a blocking check. A failure is tried again once, not at every tick.
on_new_data = (
    (
        _condition.any_deps_updated()
        .replace("newly_updated", _condition.data_version_changed())
        .since(_condition.newly_requested() | _condition.initial_evaluation())
        | _condition.code_version_changed()
        | _condition.newly_missing()
        | _condition.execution_failed().newly_true()
    )
    & ~_condition.in_progress()
    & ~_condition.any_deps_in_progress()
    & ~_condition.any_deps_missing()
    & _condition.all_deps_blocking_checks_passed()
).with_label("on_new_data")

automation_sensor = dg.AutomationConditionSensorDefinition(
    "on_new_data_sensor",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Evaluates the condition of every asset: re-makes what reads changed data, asset by asset. Off until "
    "switched on; an alternative to new_dumps, which asks for whole runs.",
)


@dg.sensor(
    job_name="everything",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Registers a dataset when its dumps land in the workspace, and asks for a run when the content of a "
    "landed file changes. Off until switched on.",
)
def new_dumps(context: dg.SensorEvaluationContext):
    from orchestration.assets.raw import observe
    from orchestration.paths import Workspace
    from orchestration.requests import register, run_request

    graph = context.repository_def.asset_graph
    workspace = Workspace.current()
    requests = []
    for dataset in sorted({*workspace.landed(), *workspace.registered()}):
        register(context.instance, dataset)
        versions, changed = observe(context.instance, dataset)
        run_key = "-".join([dataset, *(version[:12] for version in versions.values())])
        if changed and (request := run_request(context.instance, graph, dataset, run_key)):
            requests.append(request)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "no dump has changed",
    )
