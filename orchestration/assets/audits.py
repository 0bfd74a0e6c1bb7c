"""The audits: one asset each, with a check that warns where it found a reason to doubt the numbers."""

import json
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.audits.registry import ARGUMENTS, AUDITS
from ml.baselines.registry import ALWAYS_RUN
from ml.recommenders.choice import needed_codes
from ml.recommenders.modules import modules_by_name, modules_of
from ml.recommenders.registry import any_reads_times, codes_recipes, recipe_names, recipes, registry, title_of
from ml.registry import Registered
from orchestration.assets.evaluation import RECOMMENDERS, compared_recommenders, measured
from orchestration.assets.rankings import load
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import fitted_where, read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, digest_of, materialization
from orchestration.resources import Settings

if TYPE_CHECKING:
    from ml.audits.audit import Audit
    from ml.codes.recipe import CodesRecipe
    from ml.data.timed_interactions import Interactions
    from ml.data.training_set import TrainingSet

CHECK = "no_concern"


@dataclass(frozen=True)
class Material:
    """Inputs of the audits (:data:`ml.audits.registry.ARGUMENTS`), read on first use."""

    paths: DatasetPaths
    settings: Settings
    needs: tuple[str, ...]

    @cached_property
    def sequences(self) -> "TrainingSet":
        return load_training_set(self.paths, with_times=self._with_times)

    @cached_property
    def training_set(self) -> "TrainingSet":
        return load_training_set(self.paths, with_text=True, with_times=self._with_times)

    @cached_property
    def with_vectors(self) -> "TrainingSet":
        return load_training_set(self.paths, with_vectors=True, with_times=self._with_times)

    @cached_property
    def interactions(self) -> "Interactions":
        from ml.data.timed_interactions import read_interactions

        interactions, splits = (self.paths.table("marts", name) for name in ("interactions", "splits"))
        return read_interactions(interactions, splits, self.sequences)

    @property
    def candidates(self) -> tuple:
        from ml.audits.variant_runs import Candidate, cheap_candidates
        from ml.recommenders.fit import Conditions, fit

        candidates = cheap_candidates(self.training_set, self.fit_on, seed=self.seed)
        if not (name := self._chosen("audits", "audit_model")):
            return candidates
        conditions = Conditions(
            self.seed,
            self.fit_on,
            self.exclude_seen,
            **fitted_where(self.settings, self.paths.dataset),
        )
        model = Candidate(name, title_of(name), lambda data: fit(name, data, conditions, registry()))
        return (*candidates, model)

    @property
    def codes(self) -> "list[CodesRecipe]":
        return [codes_recipes()[name] for name in sorted(needed_codes(compared_recommenders(self.paths.dataset)))]

    @cached_property
    def leaderboard(self) -> list[dict]:
        import pyarrow.parquet as pq

        return pq.read_table(self.paths.leaderboard).to_pylist()

    @property
    def values(self) -> dict:
        from ml.evaluation.metrics import seed_values

        return {name: seed_values(tables) for name, tables in measured(self.paths).items()}

    @property
    def leading(self) -> dict:
        from ml.recommender import BASELINE, MODEL

        board = self.leaderboard
        # two of them may be one
        wanted = [board[0], *([row for row in board if row["kind"] == kind][:1] for kind in (MODEL, BASELINE))]
        leading = {row["recommender"]: row["title"] for row in (wanted[0], *wanted[1], *wanted[2])}
        return {title: load(self.paths, name, self.sequences.items) for name, title in leading.items()}

    @property
    def trained(self) -> dict:
        return {
            title_of(name): (load(self.paths, name, self.sequences.items), recipes()[name].objective)
            for name in compared_recommenders(self.paths.dataset)
            if name in recipes()
        }

    @property
    def fit_on(self) -> str:
        return self._chosen("fit", "fit_on")

    @property
    def exclude_seen(self) -> bool:
        return self._chosen("ranking", "exclude_seen")

    @property
    def seed(self) -> int:
        return self._chosen("training", "seed")

    @property
    def _with_times(self) -> bool:
        """Whether a recommender that the audit loads or fits reads times; no other audit reads what was chosen."""
        names: list[str] = []
        if {"trained", "leading"} & set(self.needs):
            names += compared_recommenders(self.paths.dataset)
        if "candidates" in self.needs and (fitted := self._chosen("audits", "audit_model")):
            names.append(fitted)
        return any_reads_times(names)

    def _chosen(self, slice_: str, name: str) -> Any:
        """A setting as it was written down for the dataset."""
        return read_settings(slice_, self.paths.dataset)[name]


def _settings(*names: str) -> set[str]:
    return {f"settings/{name}" for name in names}


_SEQUENCES = {"training_sets/sequences", "training_sets/protocol"}
_TEXT = _SEQUENCES | {"training_sets/item_text"}
_COMPARED = _settings("comparison")
_TIMES = {"training_sets/times"}
# what each argument of an audit is read from: see ml.audits.registry.ARGUMENTS
_READ_FROM: dict[str, set[str]] = {
    "training_set": _TEXT,
    "with_vectors": _TEXT | {"training_sets/text_vectors"},
    "sequences": _SEQUENCES,
    "interactions": _SEQUENCES | {"marts/interactions", "marts/splits"},
    "candidates": _TEXT | _TIMES | _settings("fit", "training", "ranking", "audits"),
    "codes": _COMPARED,
    "leaderboard": {"evaluation/leaderboard"},
    "values": _COMPARED | {"evaluation/user_metrics", "evaluation/further_seeds"},
    "leading": _COMPARED
    | _TIMES
    | {"evaluation/leaderboard", "training_sets/sequences"}
    | {"/".join(key) for key in RECOMMENDERS},
    "trained": _COMPARED | _TIMES | {"training_sets/sequences"} | {f"models/{name}" for name in recipe_names()},
    "fit_on": _settings("fit"),
    "exclude_seen": _settings("ranking"),
    "seed": _settings("training"),
}
assert _READ_FROM.keys() == ARGUMENTS.keys()


def audit_code(name: str) -> str:
    """Code version of an audit, with all that it may fit or load: baselines, codes and models are named in registries
    and recipes, where imports do not lead. Recipes of codes count where codes are assigned again."""
    audit = AUDITS[name]
    modules = {audit.module}
    fitted_again = ""
    if {"candidates", "codes"} & set(audit.needs):
        modules |= {"ml.recommenders.fit", *modules_by_name()}
        fitted_again = f"-{digest_of({name: recipe.digest() for name, recipe in codes_recipes().items()})[:12]}"
    if "leading" in audit.needs:
        baselines = (module for baseline in ALWAYS_RUN for module in modules_of(baseline))
        modules |= {"ml.recommenders.aligned", "ml.recommenders.fused", "ml.recommenders.reranked", *baselines}
    if {"candidates", "codes", "leading", "trained"} & set(audit.needs):
        modules |= {module for recipe in recipes() for module in modules_of(recipe)}
    return code_version(*sorted(modules)) + fitted_again


def _audit_asset(audit: Registered) -> dg.AssetsDefinition:
    name, description = audit.name, audit.description
    deps = sorted(set().union(*(_READ_FROM[need] for need in audit.needs)))

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
        deps=[key.split("/") for key in deps],
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
        from ml.audits.audit import of_first_targets
        from ml.data.files import atomic_file
        from ml.reports.render.markdown import evaluation as markdown_evaluation

        paths = Workspace.current().dataset(context.partition_key)
        material = Material(paths, settings, audit.needs)
        found: Audit = audit.resolve()(**{need: getattr(material, need) for need in audit.needs})
        if material.sequences.later_targets is not None:
            found = of_first_targets(found)
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


audit_assets = [_audit_asset(audit) for audit in AUDITS.values()]
