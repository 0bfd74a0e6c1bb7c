"""A dataset whose recommenders are baselines, and nights in which the assets of its release are made again."""

from __future__ import annotations

import json

import dagster as dg
import numpy as np
import polars as pl

import raw2rank
from ml.baselines.registry import BASELINES
from ml.data.training_set import Sequences, TrainingSet
from ml.evaluation.entry import Entry
from ml.evaluation.leaderboard import build_leaderboard
from ml.evaluation.metrics import user_metrics
from ml.evaluation.rankings import rank, write_table
from ml.recommenders.facts import FIT
from ml.release.gate.decision import Decision
from ml.release.gate.history import read_history
from ml.reports.collect.release import read_decision
from orchestration.assets.release import release_assets
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths
from orchestration.resources import Settings

# the bodies of the assets look at the graph, which is there once the definitions are
assert defs is not None
ITEMS, USERS = 30, 300
SEED = 3


def sessions(new_items: int = 0, users: int = USERS, noise: float = 0.2, seed: int = 0) -> TrainingSet:
    """Users who go through the catalogue in steps of one, now and then elsewhere: a Markov chain knows what is next,
    and what is popular says nothing."""
    random = np.random.default_rng(seed)
    items = ITEMS + new_items
    histories = []
    for _ in range(users):
        history = [int(random.integers(items))]
        while len(history) < 7:
            elsewhere = random.random() < noise
            history.append(int(random.integers(items)) if elsewhere else (history[-1] + 1) % items)
        histories.append(history)
    everybody = np.arange(users, dtype=np.int32)
    return TrainingSet(
        dataset="Small",
        item_ids=np.array([f"B{item:03d}" for item in range(items)], dtype="S"),
        user_ids=np.array([f"U{user:03d}" for user in range(users)], dtype="S"),
        train=Sequences.from_lists([history[:5] for history in histories]),
        validation_users=everybody,
        validation_targets=np.array([history[5] for history in histories], dtype=np.int32),
        test_users=everybody,
        test_targets=np.array([history[6] for history in histories], dtype=np.int32),
    )


class Shop:
    """A dataset whose recommenders are baselines, and a night in which they are made again."""

    def __init__(self, paths: DatasetPaths, instance: dg.DagsterInstance) -> None:
        self.paths = paths
        self.instance = instance
        self.fit_on = "evaluated"

    def land(self, training_set: TrainingSet, names: tuple[str, ...] = ("markov_chain",), release: str = "") -> None:
        """All that the assets of a release read."""
        paths = self.paths
        for folder in (("training_sets", "sequences"), ("rankings",), ("evaluation", "user_metrics"), ("settings",)):
            paths.asset(*folder).mkdir(parents=True, exist_ok=True)
        training_set.save(paths.asset("training_sets", "sequences"))
        items = {"item_id": [item.decode() for item in training_set.item_ids.tolist()]}
        (paths.lake / "marts").mkdir(exist_ok=True)
        pl.DataFrame(items | {"title": [f"Title of {item}" for item in items["item_id"]]}).write_parquet(
            paths.table("marts", "items")
        )
        entries = []
        for name in dict.fromkeys((*names, "most_popular")):
            fitted = BASELINES[name].create(SEED).fit(training_set)
            folder = paths.recommender(name)
            folder.mkdir(parents=True, exist_ok=True)
            fitted.save(folder)
            (folder / FIT).write_text('{"fit_on": "train"}')
            ranked = rank(fitted, training_set, name, SEED, exclude_seen=False)
            write_table(ranked, paths.asset("rankings") / f"{name}.parquet")
            metrics = user_metrics(ranked, training_set)
            write_table(metrics, paths.asset("evaluation", "user_metrics") / f"{name}.parquet")
            entries.append(Entry(name, "baseline", (metrics,)))
        write_table(build_leaderboard(entries, training_set), paths.leaderboard)
        for name, values in {
            "training": {"seed": SEED},
            "fit": {"fit_on": "train"},
            "ranking": {"exclude_seen": False},
            "comparison": {"recipes": []},
            "release": {"release": release, "release_fit_on": self.fit_on},
        }.items():
            (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))

    def make(self, *assets: dg.AssetsDefinition) -> list[dg.MaterializeResult]:
        """The bodies of assets, all of a release by default, as a run would call them."""
        resources = {"settings": Settings()}
        return [
            asset(dg.build_asset_context(partition_key="Small", instance=self.instance, resources=resources))
            for asset in assets or tuple(release_assets)
        ]

    def run(self) -> dg.ExecuteInProcessResult:
        """A run of all of them."""
        return dg.materialize(
            release_assets,
            partition_key="Small",
            instance=self.instance,
            selection=list(release_assets),
            resources={"settings": Settings()},
        )

    def night(self, training_set: TrainingSet, *names: str, release: str = "") -> Decision:
        self.land(training_set, names or ("markov_chain",), release)
        self.make()
        return self.decision

    @property
    def decision(self) -> Decision:
        found = read_decision(self.paths.lake)
        assert found is not None
        return found

    @property
    def in_charge(self) -> str:
        return raw2rank.load(self.paths.champion).name

    def events(self) -> list[tuple[str, str, str]]:
        return [(one.event, one.name, one.who) for one in read_history(self.paths.asset("release"))]
