"""The asset checks that are not dbt's: the contracts of ``data_contracts/``, and what a trained model must be."""

import dagster as dg

from ml.recommenders.registry import recipe_names, recipes, teacher_lists_recipes
from orchestration.assets.left_out import sentence_on
from orchestration.assets.pretrained import overlap_with_sources
from orchestration.contracts.checks import contract_checks, load_contracts
from orchestration.contracts.frames import READS, keep_result, load_frame
from orchestration.partitions import datasets
from orchestration.paths import Workspace


def _weights_check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=["models", name],
        name="weights_are_finite",
        partitions_def=datasets,
        blocking=True,
        description="Every weight is a finite number, and no matrix is all zeros: the model can be ranked with.",
    )
    def weights_are_finite(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        import numpy as np
        from safetensors.numpy import load_file

        from ml.data.files import whole

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        if (text := sentence_on(name, paths)) is not None:
            return dg.AssetCheckResult(passed=True, description=f"{dataset}: nothing to check: {text}")
        folder = paths.asset("models", name)
        with whole(folder):
            weights = load_file(folder / "model.safetensors")
        bad = sorted(
            tensor
            for tensor, values in weights.items()
            if not np.isfinite(values).all() or (values.ndim > 1 and not values.any())
        )
        return dg.AssetCheckResult(
            passed=not bad,
            description=f"{dataset}: not finite or all zeros: {', '.join(bad)}" if bad else "all weights are sound",
            metadata={"tensors": len(weights), "numbers": int(sum(values.size for values in weights.values()))},
        )

    return weights_are_finite


# a student is to keep so much of the accuracy of its teacher
_LEAST_SHARE = 0.97


def _student_check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=["models", name],
        name="close_to_its_teacher",
        partitions_def=datasets,
        description=f"The validation nDCG@10 of the lists at the trade-off 0 is at least {_LEAST_SHARE:.0%} of that of "
        "the teacher, both trained on the training items alone.",
    )
    def close_to_its_teacher(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from ml.training.summary import student_and_teacher

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        if (text := sentence_on(name, paths)) is not None:
            return dg.AssetCheckResult(passed=True, description=f"{dataset}: nothing to check: {text}")
        own, of_teacher = student_and_teacher(paths.asset("models", name))
        if own is None or of_teacher is None:
            return dg.AssetCheckResult(passed=True, description=f"{dataset}: no validation users to compare them by")
        figures = f"validation nDCG@10 {own:.4f}, of its teacher {of_teacher:.4f}"
        share = own / of_teacher if of_teacher else 1.0
        return dg.AssetCheckResult(
            passed=share >= _LEAST_SHARE,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{dataset}: {figures}: {share:.1%} of it; at least {_LEAST_SHARE:.0%} is expected",
            metadata={"student": own, "teacher": of_teacher, "share": share},
        )

    return close_to_its_teacher


def _overlap_check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=["models", name],
        name="test_users_are_in_no_source",
        partitions_def=datasets,
        description="No test user has a history in a dataset that the model was pre-trained on.",
    )
    def test_users_are_in_no_source(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        if (text := sentence_on(name, paths)) is not None:
            return dg.AssetCheckResult(passed=True, description=f"{dataset}: nothing to check: {text}")
        found = overlap_with_sources(paths)
        return dg.AssetCheckResult(
            passed=not found.sentence,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{dataset}: {found.sentence or 'no test user has a history in a source'}",
            metadata={"test users": found.tested, "of these in a source": found.test_users},
        )

    return test_users_are_in_no_source


def _has_own_lists(name: str) -> bool:
    """Whether a model is taught the own lists of its teacher, perhaps among others."""
    lists = recipes()[name].teacher_lists
    return lists is not None and 0 in teacher_lists_recipes()[lists].tradeoffs


checks = [
    *contract_checks(load_contracts(), datasets, load_frame, keep_result, READS),
    *(_weights_check(name) for name in recipe_names()),
    *(_student_check(name) for name in recipe_names() if _has_own_lists(name)),
    *(_overlap_check(name) for name in recipe_names() if recipes()[name].pretraining),
]
