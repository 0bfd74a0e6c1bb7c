"""The settings of a dataset, as assets: what was chosen, written down, with a version of its own."""

import json

import dagster as dg

from ml.data.setting_names import RENAMED, notice
from ml.extras import MissingExtra
from ml.recommenders.check_choice import check_audit_model
from orchestration.condition import on_new_data
from orchestration.dataset_settings import (
    SLICES,
    check_settings,
    check_sources,
    chosen,
    execution_of,
    kept_for,
    notices_of_file,
    origins,
    version_of,
)
from orchestration.options import kind_of
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import DATA_OWNERS, array_schema, as_dagster_failure, materialization
from orchestration.resources import Settings
from orchestration.settings_file import RegistrationError


def _settings_asset(name: str, description: str, fields: tuple[str, ...]) -> dg.AssetsDefinition:
    types = {bool: "boolean", float: "number", int: "integer", str: "string"}

    @dg.asset(
        key=["settings", name],
        description=f"{description} Taken from the `settings` block of the launchpad; what is not set there is as in "
        "the file of the dataset (`datasets/<name>.toml` in the workspace), and what is not there either stays as it "
        "is.",
        group_name="settings",
        kinds={"json"},
        owners=DATA_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version="1",
        metadata={
            "dagster/column_schema": array_schema(
                **{
                    field: (types.get(kind_of(known.annotation), "list[string]"), known.description or "")
                    for field, known in ((field, Settings.model_fields[field]) for field in fields)
                }
            )
        },
    )
    def settings_asset(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.files import atomic_file

        for old, new in RENAMED.items():
            if new in fields and getattr(settings, old) is not None:
                context.log.warning(notice(old, new))
        with as_dagster_failure(context.partition_key, ValueError, RegistrationError, MissingExtra):
            if name == "dataset":
                for text in notices_of_file(context.partition_key):
                    context.log.warning(text)
                # a command gives every setting, and has said on the terminal which it was given
                if any(getattr(settings, field) is None for field in fields):
                    context.log.info(f"settings {origins(settings, context.partition_key, 'as before')}")
            check_settings(settings)
            check_sources(execution_of(settings, context.partition_key)["pretrain_on"], context.partition_key)
            values = chosen(settings, name, kept_for(context.partition_key))
            check_audit_model(values.get("audit_model", ""))
        path = Workspace.current().dataset(context.partition_key).asset("settings") / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n")
        return materialization(version_of(values), {"dagster/row_count": 1, "dagster/uri": str(path), **values})

    return settings_asset


settings_assets = [_settings_asset(name, *slice_) for name, slice_ in SLICES.items()]
