"""When an asset is made again without being asked for: the automation condition of all assets."""

import dagster as dg

_condition = dg.AutomationCondition


class IsChosen(dg.AutomationCondition):
    """True for the datasets that have chosen the recipe of an asset; for every dataset where an asset is of none."""

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        from orchestration.dataset_settings import chosen_for
        from orchestration.reporting import collect_problems
        from orchestration.resources import Settings
        from orchestration.selection import is_chosen

        candidates = context.candidate_subset
        if is_chosen(context.key, ()):
            return dg.AutomationResult(context, true_subset=candidates)
        names: set[str] = set()
        # of a dataset whose settings cannot be read nothing is known to be chosen
        problems: list[str] = []
        for dataset in candidates.expensively_compute_partition_keys():
            with collect_problems(dataset, problems):
                if is_chosen(context.key, chosen_for(Settings(), dataset)):
                    names.add(dataset)
        for problem in problems:
            context.log.warning(problem)
        return dg.AutomationResult(context, candidates.compute_intersection_with_partition_keys(names))


_is_chosen = IsChosen()

# Re-make an asset when the data version of something it reads has changed (not merely when it was made again),
# when its code has changed or when it is missing; never while something above it is missing, under way or has
# failed a blocking check. A failure is tried again once, not at every tick.
on_new_data = (
    (
        _condition.any_deps_updated()
        .replace("newly_updated", _condition.data_version_changed())
        .since(_condition.newly_requested() | _condition.initial_evaluation())
        | _condition.code_version_changed()
        | (_condition.missing() & _is_chosen).newly_true()
        | _condition.execution_failed().newly_true()
    )
    & ~_condition.in_progress()
    & ~_condition.any_deps_in_progress()
    # what was not chosen is never made and not waited for
    & ~_condition.any_deps_match(_condition.missing() & _is_chosen & ~_condition.will_be_requested())
    & _condition.all_deps_blocking_checks_passed()
    & _is_chosen
).with_label("on_new_data")

# How often the dumps are looked at where only conditions are evaluated; nothing else observes them then.
observe_dumps = _condition.on_cron("*/5 * * * *").with_label("observe_dumps")
