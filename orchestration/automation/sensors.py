"""The sensors: one that evaluates the automation conditions, one that looks for new dumps."""

import dagster as dg

automation_sensor = dg.AutomationConditionSensorDefinition(
    "on_new_data_sensor",
    target=dg.AssetSelection.all(include_sources=True),
    # the condition is code of this project
    use_user_code_server=True,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Evaluates the condition of every asset: re-makes what reads changed data, asset by asset. Off until "
    "switched on; an alternative to new_dumps, which asks for whole runs.",
)


@dg.sensor(
    job_name="all_recipes",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Registers a dataset when its dumps land in the workspace, and asks for a run when something of it is "
    "out of date: a landed file whose content changed, or what a run left unmade. A run that failed is asked for once "
    "more. Off until switched on.",
)
def new_dumps(context: dg.SensorEvaluationContext):
    from orchestration.automation.run_requests import sense

    repository = context.repository_def
    assert repository is not None  # Dagster evaluates sensors within one
    result, problems = sense(context.instance, repository.asset_graph, context.cursor)
    for problem in problems:
        context.log.warning(problem)
    return result
