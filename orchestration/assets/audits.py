"""The audits: one asset each, with a check that warns where it found a reason to doubt the numbers."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import dagster as dg

from ml.baselines import BASELINES
from ml.recommenders.registry import (
    modules_by_name,
    modules_of,
    needed_codes,
    recipe_names,
    recipes,
    registry,
    title_of,
)
from orchestration.assets.evaluation import RECOMMENDERS, compared_for, measured
from orchestration.assets.rankings import load
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, digest_of, materialization
from orchestration.resources import Settings, resolved

if TYPE_CHECKING:
    from ml.audits.audit import Audit
    from ml.training.sequential_recommender import SequentialRecommender

CHECK = "no_concern"
_FIT_AGAIN = ("duplicates", "ties", "temporal", "leakage")
_DATA = (
    *(["marts", name] for name in ("interactions", "splits")),
    *(["training_sets", name] for name in ("sequences", "item_text", "protocol")),
    *(["settings", name] for name in ("fit", "ranking", "training")),
)
_REFITS = (*_DATA, ["settings", "audits"])


@dataclass(frozen=True)
class Material:
    """Inputs of the audits, read on first use."""

    paths: DatasetPaths
    settings: Settings

    @cached_property
    def training_set(self):
        return load_training_set(self.paths, with_text=True)

    @cached_property
    def interactions(self):
        from ml.data.timed_interactions import read_interactions

        marts = (self.paths.table("marts", name) for name in ("interactions", "splits"))
        return read_interactions(*marts, self.training_set)

    def chosen(self, slice_: str, name: str):
        """A setting as it was written down for the dataset."""
        return read_settings(slice_, self.paths.dataset)[name]

    @property
    def names(self) -> list[str]:
        """Recommenders that the leaderboard compares."""
        return compared_for(self.paths.dataset)

    @property
    def leaderboard(self) -> list[dict]:
        """Its rows, best first."""
        import pyarrow.parquet as pq

        return pq.read_table(self.paths.leaderboard).to_pylist()

    def fitted(self, name: str):
        return load(self.paths, name, self.training_set.items)

    @property
    def candidates(self) -> tuple:
        """The cheap recommenders, and the model that was asked for."""
        from ml.audits.variant_runs import Candidate, cheap_candidates
        from ml.recommenders.fit import Conditions, fit

        fit_on, seed = self.chosen("fit", "fit_on"), self.chosen("training", "seed")
        candidates = cheap_candidates(self.training_set, fit_on, seed=seed)
        if not (name := self.chosen("audits", "audit_model")):
            return candidates
        conditions = Conditions(
            seed,
            fit_on,
            self.chosen("ranking", "exclude_seen"),
            resolved(self.settings)["device"],
            resolved(self.settings)["precision"],
        )
        model = Candidate(name, title_of(name), lambda data: fit(name, data, conditions, registry()))
        return (*candidates, model)

    @property
    def refit_options(self) -> dict:
        return {
            "candidates": self.candidates,
            "exclude_seen": self.chosen("ranking", "exclude_seen"),
            "seed": self.chosen("training", "seed"),
        }


def _ties(material: Material) -> "Audit":
    from ml.audits.ties import audit_ties

    return audit_ties(material.training_set, material.interactions, **material.refit_options)


def _duplicates(material: Material) -> "Audit":
    from ml.audits.duplicates import audit_duplicates

    return audit_duplicates(material.training_set, material.interactions, **material.refit_options)


def _temporal(material: Material) -> "Audit":
    from ml.audits.temporal import audit_temporal

    return audit_temporal(material.training_set, material.interactions, **material.refit_options)


def _leakage(material: Material) -> "Audit":
    from ml.audits.leakage import CHEAP_CODES, audit_leakage, baseline_refits, code_refits

    exclude_seen, seed = material.chosen("ranking", "exclude_seen"), material.chosen("training", "seed")
    codes = sorted(needed_codes(material.names) & set(CHEAP_CODES))
    return audit_leakage(
        material.training_set,
        material.interactions,
        baseline_refits(material.training_set, exclude_seen, seed) | code_refits(codes, seed=seed),
        exclude_seen=exclude_seen,
        fit_on=material.chosen("fit", "fit_on"),
        seed=seed,
    )


def _shortcuts(material: Material) -> "Audit":
    from ml.audits.shortcuts import audit_shortcuts
    from ml.evaluation.metrics import seed_values
    from ml.recommender import BASELINE, MODEL

    board = material.leaderboard
    # the leader, the best model and the best baseline, of which two may be one
    wanted = [board[0], *([row for row in board if row["kind"] == kind][:1] for kind in (MODEL, BASELINE))]
    leading = {row["recommender"]: row["title"] for row in (wanted[0], *wanted[1], *wanted[2])}
    return audit_shortcuts(
        # the graph that fitted recommenders know
        material.training_set.to_fit_on(material.chosen("fit", "fit_on")),
        {title: material.fitted(name) for name, title in leading.items()},
        board,
        {name: seed_values(tables) for name, tables in measured(material.paths).items()},
        exclude_seen=material.chosen("ranking", "exclude_seen"),
        seed=material.chosen("training", "seed"),
    )


def _calibration(material: Material) -> "Audit":
    from ml.audits.calibration import audit_calibration

    chosen = [name for name in material.names if name in recipes()]
    # no model reads text
    training_set = load_training_set(material.paths)
    return audit_calibration(
        {
            # what a recipe trains scores items by a dot product, which the audit reads
            title_of(name): (
                cast("SequentialRecommender", load(material.paths, name, training_set.items)),
                recipes()[name].objective,
            )
            for name in chosen
        },
        training_set,
        exclude_seen=material.chosen("ranking", "exclude_seen"),
        seed=material.chosen("training", "seed"),
    )


AUDITS: dict[str, tuple[Callable[[Material], "Audit"], tuple, str]] = {
    "duplicates": (_duplicates, _REFITS, "The cheap recommenders with and without the exact duplicates of the dump."),
    "ties": (
        _ties,
        _REFITS,
        "The cheap recommenders under each rule for interactions at one moment; whether histories are sorted by item.",
    ),
    "leakage": (_leakage, (*_DATA, ["settings", "comparison"]), "What is known of a test case before it is asked for."),
    "shortcuts": (
        _shortcuts,
        (
            *_DATA,
            ["settings", "comparison"],
            *(["evaluation", name] for name in ("leaderboard", "user_metrics", "further_seeds")),
            *RECOMMENDERS,
        ),
        "How far the last items, the graph and the text go, and whether this dataset can tell models apart at all.",
    ),
    "calibration": (
        _calibration,
        (
            ["training_sets", "sequences"],
            *(["settings", name] for name in ("ranking", "training", "comparison")),
            *(["models", name] for name in recipe_names()),
        ),
        "The probabilities that trained models give to what they recommend, beside how often they are right.",
    ),
    "temporal": (_temporal, _REFITS, "The cheap recommenders on a split by global time beside leave-one-out."),
}


def audit_code(name: str) -> str:
    """Code version of an audit, with all that it may fit or load: baselines, codes and models are named in registries
    and recipes, where imports do not lead."""
    modules = {module for recipe in recipes() for module in modules_of(recipe)}
    if name in _FIT_AGAIN:
        modules |= {"ml.recommenders.fit", *modules_by_name()}
    elif name == "shortcuts":
        baselines = (module for baseline in BASELINES for module in modules_of(baseline))
        modules |= {"ml.recommenders.fused", *baselines}
    return code_version(f"ml.audits.{name}", *sorted(modules))


def _audit_asset(name: str, make: Callable[[Material], "Audit"], deps: tuple, description: str) -> dg.AssetsDefinition:
    with warnings.catch_warnings():
        # the partitions_def of a check is in preview; without it one dataset's verdict would stand for all
        warnings.simplefilter("ignore", dg.PreviewWarning)
        check = dg.AssetCheckSpec(
            CHECK,
            asset=["audits", name],
            description=f"{description} Fails where that weakens what the leaderboard says; blocks nothing.",
            partitions_def=datasets,
        )

    @dg.asset(
        key=["audits", name],
        deps=list(deps),
        description=description,
        group_name="audits",
        kinds={"numpy", "json"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=audit_code(name),
        check_specs=[check],
        metadata={"dagster/column_schema": array_schema(audit=("json", "verdict, tables, charts and facts"))},
    )
    def audited(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.files import atomic_file
        from ml.reports.render.markdown import evaluation as markdown_evaluation

        paths = Workspace.current().dataset(context.partition_key)
        found = make(Material(paths, settings))
        path = paths.asset("audits") / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(found.as_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return materialization(
            digest_of(found.as_json()),
            {
                "dagster/row_count": sum(len(table.rows) for table in found.tables),
                "dagster/uri": str(path),
                "verdict": found.verdict,
                "outcome": found.outcome,
                "audit": dg.MetadataValue.md(markdown_evaluation.audit(found)),
                "facts": dg.MetadataValue.json(found.facts),
            },
            [
                dg.AssetCheckResult(
                    check_name=CHECK,
                    passed=not found.concern,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=found.verdict,
                    # numbers are drawn over time in the UI
                    metadata={name: value for name, value in found.facts.items() if isinstance(value, int | float)},
                )
            ],
        )

    return audited


audit_assets = [_audit_asset(name, *parts) for name, parts in AUDITS.items()]
