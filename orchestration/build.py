"""Putting the definitions together; tests pass resources of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.assets.accepted import accepted_assets
from orchestration.assets.alignments import alignment_assets
from orchestration.assets.audits import audit_assets
from orchestration.assets.baselines import baseline_assets
from orchestration.assets.beyond_accuracy import beyond_accuracy_assets
from orchestration.assets.codes import codes_assets
from orchestration.assets.evaluation import evaluation_assets
from orchestration.assets.folds import fold_assets
from orchestration.assets.fusions import fusion_assets
from orchestration.assets.history import history_assets
from orchestration.assets.language_models import language_model_assets
from orchestration.assets.models import model_assets
from orchestration.assets.pretrained import pretrained_assets
from orchestration.assets.progress import progress_assets
from orchestration.assets.rankings import ranking_assets
from orchestration.assets.raw import landing_assets, raw_dumps
from orchestration.assets.recommendations import recommendation_assets
from orchestration.assets.release import release_assets
from orchestration.assets.report import report_assets
from orchestration.assets.rerankings import reranking_assets
from orchestration.assets.searches import search_assets
from orchestration.assets.seeds import seed_assets
from orchestration.assets.settings import settings_assets
from orchestration.assets.slices import slice_assets
from orchestration.assets.teacher_lists import teacher_lists_assets
from orchestration.assets.training_sets import training_set_assets
from orchestration.assets.warehouse import warehouse
from orchestration.assets.what_helps import what_helps_assets
from orchestration.automation.alerts import alert_on_failed_checks, alert_on_failure
from orchestration.automation.cleaning import weekly
from orchestration.automation.jobs import everything, jobs, nightly
from orchestration.automation.registration import register_landed
from orchestration.automation.sensors import automation_sensor, new_dumps
from orchestration.automation.shown_staleness import show_staleness, staleness_checks
from orchestration.automation.watch import alert_on_overdue, alert_on_silence
from orchestration.checks import checks
from orchestration.code_versions import remember
from orchestration.execution.executor import one_run_a_dataset
from orchestration.execution.staleness import set_asset_graph
from orchestration.execution.trainings import trainings
from orchestration.resources import Settings, dbt_resource, training_client

__all__ = ["build_defs", "everything"]


def build_defs(resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The definitions, with some resources replaced where given."""
    defs = dg.Definitions(
        assets=[
            *settings_assets,
            raw_dumps,
            *landing_assets,
            warehouse,
            *accepted_assets,
            *training_set_assets,
            *baseline_assets,
            *codes_assets,
            *pretrained_assets,
            *model_assets,
            *fusion_assets,
            *teacher_lists_assets,
            *reranking_assets,
            *alignment_assets,
            *language_model_assets,
            *ranking_assets,
            *seed_assets,
            *evaluation_assets,
            *slice_assets,
            *beyond_accuracy_assets,
            *what_helps_assets,
            *fold_assets,
            *audit_assets,
            *progress_assets,
            *release_assets,
            *history_assets,
            *recommendation_assets,
            *report_assets,
            *search_assets,
        ],
        asset_checks=[*checks, *staleness_checks],
        jobs=jobs,
        schedules=[nightly, weekly],
        sensors=[
            register_landed,
            show_staleness,
            new_dumps,
            automation_sensor,
            alert_on_failure,
            alert_on_failed_checks,
            alert_on_silence,
            alert_on_overdue,
        ],
        resources={
            "settings": Settings(),
            "dbt": dbt_resource(),
            "training_client": training_client(),
            "trainings": trainings,
            **(resources or {}),
        },
        executor=one_run_a_dataset,
    )
    set_asset_graph(defs.resolve_asset_graph)
    remember()
    return defs
