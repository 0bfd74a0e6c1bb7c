"""The asset checks that are not dbt's: the contracts of ``data_contracts/``, and what a trained model must be."""

import dagster as dg

from ml.recommenders.registry import recipe_names
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
        folder = Workspace.current().dataset(dataset).asset("models", name)
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


checks = [
    *contract_checks(load_contracts(), datasets, load_frame, keep_result, READS),
    *(_weights_check(name) for name in recipe_names()),
]
