"""The assets of a release: who is in charge after which night, and what is said about it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from costs import others_slow

import raw2rank
from ml.baselines.registry import BASELINES
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.data.versions import versions_of
from ml.evaluation.entry import Entry
from ml.evaluation.leaderboard import build_leaderboard
from ml.evaluation.metrics import user_metrics
from ml.evaluation.rankings import rank, write_table
from ml.recommenders.facts import FIT
from ml.release.gate.decision import NO_RELEASE, PROMOTE, REFUSE, UNCHANGED, Decision
from ml.release.gate.history import PROMOTED, PROMOTED_BY_HAND, REFUSED, ROLLED_BACK, read_history
from ml.release.over_time import read_standings
from ml.reports.collect.release import read_decision
from ml.reports.render.release import decision_page
from orchestration import release as module
from orchestration.assets.history import history
from orchestration.assets.release import champion, decision, release_assets
from orchestration.automation.releases import release_jobs
from orchestration.dataset_lock import dataset_lock
from orchestration.definitions import defs
from orchestration.execution.crash_recovery import clear_up, missing
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.release import ReleaseError, complete, promote, read_state, roll_back, settle
from orchestration.resources import Settings
from orchestration.versions import history as versions_on_disk

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


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(datasets.name, ["Small"])
        yield instance


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> Shop:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_who", lambda: "ann")
    return Shop(Workspace.current().dataset("Small"), instance)


def test_the_first_release_must_beat_the_most_popular_items(shop: Shop) -> None:
    found = shop.night(sessions())
    assert found.verdict == PROMOTE
    assert found.champion is None
    assert found.findings[0].bound.id == "better_than_most_popular"
    assert shop.in_charge == "markov_chain"
    assert shop.events() == [(PROMOTED, "markov_chain", "the gate")]
    # it answers as the rankings did, which the gate has checked
    assert found.figures["bundle_overlap"] == 1
    answered = raw2rank.load(shop.paths.champion).recommend([["B003"]], k=1)
    assert answered.items == [["B004"]]
    assert raw2rank.load(shop.paths.champion).titles[4] == "Title of B004"


def test_a_first_release_that_beats_nothing_is_refused_and_no_run_fails(shop: Shop) -> None:
    found = shop.night(sessions(), "random")
    assert found.verdict == REFUSE
    assert not shop.paths.champion.exists()
    assert read_state(shop.paths).release == ""
    assert shop.events() == [(REFUSED, "random" if found.candidate.name == "random" else "most_popular", "the gate")]
    # the refused candidate stays to be looked at
    assert raw2rank.load(shop.paths.asset("release", "candidate")).name == found.candidate.name


def test_the_same_again_is_unchanged_without_a_ranking(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.night(sessions())
    before = [version.path for version in versions_of(shop.paths.champion)]

    def ranked_again(*_: object) -> None:
        raise AssertionError("it was ranked")

    monkeypatch.setattr("ml.release.gate.run.champion_rankings", ranked_again)
    monkeypatch.setattr("ml.release.gate.run.measured_cases", ranked_again)
    assert shop.night(sessions()).verdict == UNCHANGED
    assert [version.path for version in versions_of(shop.paths.champion)] == before
    assert shop.events() == [(PROMOTED, "markov_chain", "the gate")]


def test_new_data_are_promoted_and_the_champion_is_measured_on_them(shop: Shop) -> None:
    shop.night(sessions())
    found = shop.night(sessions(new_items=4, seed=1))
    assert found.verdict == PROMOTE
    assert found.candidate.items == ITEMS + 4
    assert found.champion.items == ITEMS
    # a target that the champion does not know is a miss, and counts among the new items
    assert found.metrics["champion"]["ndcg@10 new_items"] == 0
    assert found.metrics["candidate"]["ndcg@10 new_items"] > 0
    assert found.users["new_items"] > 10
    assert raw2rank.load(shop.paths.champion).items == ITEMS + 4
    assert [one[0] for one in shop.events()] == [PROMOTED, PROMOTED]
    cases = pl.read_parquet(shop.paths.asset("release", "decision") / "cases.parquet")
    assert cases.columns == ["user_index", "candidate", "most_popular", "champion"]
    assert cases.height == USERS
    assert {"leaderboard.parquet", "champion_leaderboard.parquet", "decision.html"} <= {
        path.name for path in shop.paths.asset("release", "decision").iterdir()
    }


def test_items_that_are_gone_are_left_out_of_the_lists_of_the_champion(shop: Shop) -> None:
    shop.night(sessions(new_items=6))
    found = shop.night(sessions(seed=1))
    assert found.champion.items == ITEMS + 6
    # measured on what is left of its catalogue, it is as good as before
    assert found.metrics["champion"]["ndcg@10"] > 0.5


@pytest.mark.parametrize("worse", others_slow(["most_popular", "random", "repeat_last"], "repeat_last"))
def test_a_planted_worse_candidate_is_never_promoted(shop: Shop, worse: str) -> None:
    shop.night(sessions())
    found = shop.night(sessions(seed=1), worse, release=worse)
    assert found.verdict == REFUSE
    assert "not_less_accurate" in found.sentence
    assert shop.in_charge == "markov_chain"
    assert shop.events()[-1] == (REFUSED, worse, "the gate")
    # neither by making the champion again
    shop.make(champion)
    assert shop.in_charge == "markov_chain"
    assert [one[0] for one in shop.events()] == [PROMOTED, REFUSED]


def test_results_over_time_say_what_was_in_charge_and_are_the_same_when_made_again(shop: Shop) -> None:
    (shop.paths.lake / "marts").mkdir(parents=True)
    pl.DataFrame({"user_id": ["a", "b", "c"]}).write_parquet(shop.paths.table("marts", "interactions"))
    shop.night(sessions())
    (first,) = shop.make(history)
    (again,) = shop.make(history)
    assert again.data_version == first.data_version
    assert shop.night(sessions(seed=1), "random", release="random").verdict == REFUSE
    (second,) = shop.make(history)
    assert second.data_version != first.data_version
    one, other = read_standings(shop.paths.asset("evaluation", "history"))
    assert (one.verdict, other.verdict) == (PROMOTE, REFUSE)
    assert one.in_charge == one.best
    assert other.in_charge.title == "First-order Markov chain"
    # of the champion, on the users of the second night
    assert other.in_charge.ndcg == pytest.approx(shop.decision.metrics["champion"]["ndcg@10"])
    assert other.in_charge.low < other.in_charge.ndcg < other.in_charge.high
    assert one.training_set != other.training_set
    assert one.interactions == 3
    assert all(entry.run and entry.when and entry.code for entry in (one, other))
    assert second.metadata["ndcg@10 in charge"] == other.in_charge.ndcg


def test_a_refused_candidate_warns_in_a_check_of_each_bound(shop: Shop) -> None:
    shop.night(sessions())
    shop.land(sessions(seed=1), ("random",), "random")
    result = shop.run()
    assert result.success
    found = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert not found["not_less_accurate"].passed
    assert found["not_less_accurate"].severity == dg.AssetCheckSeverity.WARN
    assert "promote by hand after a look" in found["not_less_accurate"].description
    assert found["size_is_bounded"].passed
    # of a first release, which this is not
    assert found["better_than_most_popular"].passed
    (made,) = result.asset_materializations_for_node("release__decision")
    assert made.metadata["verdict"].value == REFUSE
    assert made.metadata["open"].value == "/releases/Small/decision.html"


def test_a_damaged_champion_counts_as_none_and_is_told(shop: Shop) -> None:
    shop.night(sessions())
    (shop.paths.champion / "catalogue.parquet").write_bytes(b"no longer")
    found = shop.night(sessions(seed=1))
    assert found.champion is None
    assert found.verdict == PROMOTE
    assert found.notes[0].startswith("The champion cannot be loaded and counts as none: the bundle")
    assert raw2rank.load(shop.paths.champion).name == "markov_chain"
    # also where the candidate is the very same
    (shop.paths.champion / "catalogue.parquet").write_bytes(b"no longer")
    assert shop.night(sessions(seed=1)).verdict == PROMOTE
    assert raw2rank.load(shop.paths.champion).name == "markov_chain"


def test_where_no_release_is_asked_for_the_champion_stays(shop: Shop) -> None:
    shop.night(sessions())
    found = shop.night(sessions(seed=1), release="none")
    assert found.verdict == NO_RELEASE
    assert shop.in_charge == "markov_chain"
    with pytest.raises(ReleaseError, match="there is no candidate"):
        promote(shop.paths)


def test_a_release_that_is_fitted_on_everything_is_judged_by_the_fit_that_was_measured(shop: Shop) -> None:
    shop.fit_on = "everything"
    first = shop.night(sessions())
    assert (first.verdict, first.candidate.fitted_on) == (PROMOTE, "everything")
    in_charge = raw2rank.load(shop.paths.champion)
    assert in_charge.fitted_on == "everything"
    # it has learnt from the test items, and the other has not
    measured = raw2rank.load(shop.paths.champion / "measured")
    assert measured.fitted_on == "train"
    assert in_charge.interactions.sum() == measured.interactions.sum() + 2 * USERS
    # tomorrow both are compared without them, else the champion would have seen the answers
    shop.fit_on = "evaluated"
    second = shop.night(sessions())
    assert second.candidate.digest != first.candidate.digest
    assert second.metrics["champion"] == pytest.approx(second.metrics["candidate"])
    assert second.verdict == PROMOTE


def test_what_was_not_compared_cannot_be_released(shop: Shop) -> None:
    shop.land(sessions(), release="two_hop_graph")
    with pytest.raises(dg.Failure, match="RELEASE=two_hop_graph is not among the recommenders compared"):
        shop.make()


def test_by_hand_a_refused_candidate_is_promoted_and_taken_back(shop: Shop) -> None:
    shop.night(sessions())
    shop.night(sessions(seed=1), "random", release="random")
    promoted = promote(shop.paths, reason="a trial")
    assert shop.in_charge == "random"
    assert promoted.sentence.endswith("was promoted by hand (a trial).")
    with pytest.raises(ReleaseError, match="is in charge already"):
        promote(shop.paths)
    back = roll_back(shop.paths, reason="it was a bad one")
    assert shop.in_charge == "markov_chain"
    assert back.release == shop.decision.champion.digest
    assert shop.events()[-2:] == [(PROMOTED_BY_HAND, "random", "ann"), (ROLLED_BACK, "random", "ann")]
    with pytest.raises(ReleaseError, match="no release before the one in charge"):
        roll_back(shop.paths)
    # by its digest
    assert promote(shop.paths, promoted.release[:8].upper()).name == "random"
    roll_back(shop.paths)
    # by its version, as make history lists it
    listed = next(one for one in versions_on_disk(shop.paths) if one.asset == "release/candidate" and one.is_current)
    assert not promoted.release.startswith(listed.digest[:8])
    assert promote(shop.paths, listed.digest[:8]).name == "random"
    with pytest.raises(ReleaseError, match=f"no release ffffffff that can be loaded in .*{promoted.release[:12]}"):
        promote(shop.paths, "ffffffff")


@pytest.mark.parametrize("gone", others_slow(["link", "champion", "all"], "champion"))
def test_a_champion_that_somebody_removed_is_noticed_and_there_is_one_after_the_next_run(shop: Shop, gone: str) -> None:
    shop.night(sessions())
    before, keys = raw2rank.load(shop.paths.champion).digests, {asset.key for asset in release_assets}
    of_champion = {dg.AssetKey(["release", "decision"]), dg.AssetKey(["release", "champion"])}
    assert missing(shop.paths, keys) == set()
    versions = [version.path for version in versions_of(shop.paths.champion)]
    shop.paths.champion.unlink()
    if gone != "link":
        shutil.rmtree(versions[0])
    if gone == "all":
        shutil.rmtree(shop.paths.asset("release", "candidate").resolve())
        shop.paths.asset("release", "candidate").unlink()
    assert missing(shop.paths, keys) >= of_champion
    with dataset_lock(shop.paths, "make run") as lock:
        clear_up(shop.instance, shop.paths, lock)
    # as long as a copy of it is on disk it is put back at once
    assert shop.paths.champion.exists() == (gone != "all")
    shop.make()
    assert missing(shop.paths, keys) == set()
    assert raw2rank.load(shop.paths.champion).digests == before


def test_a_record_of_the_champion_that_cannot_be_read_is_made_anew_with_it(shop: Shop) -> None:
    shop.night(sessions())
    shop.paths.champion.unlink()
    (shop.paths.asset("release") / "champion.json").write_text("{")
    key = dg.AssetKey(["release", "champion"])
    assert missing(shop.paths, {key}) == {key}
    with dataset_lock(shop.paths, "make run") as lock:
        clear_up(shop.instance, shop.paths, lock)
    shop.make()
    assert missing(shop.paths, {key}) == set()
    assert shop.in_charge == "markov_chain"


def test_what_was_rolled_back_is_not_promoted_again_unasked(shop: Shop) -> None:
    shop.night(sessions())
    shop.night(sessions(seed=1))
    first, second = (one.release for one in read_history(shop.paths.asset("release")))
    roll_back(shop.paths, "complaints")
    # of the decision that stands
    shop.make(champion)
    assert read_state(shop.paths).release == first
    # and of the next one on the same candidate
    found = shop.night(sessions(seed=1))
    assert found.verdict == REFUSE
    assert found.candidate.digest == second
    assert "rolled back by ann" in found.notes[0]
    assert read_state(shop.paths).release == first
    # of other data it is another candidate
    assert shop.night(sessions(seed=2)).verdict == PROMOTE


def test_a_decision_on_another_candidate_promotes_nothing(shop: Shop) -> None:
    shop.night(sessions())
    shop.land(sessions(seed=1))
    shop.make(*release_assets[:2])
    assert shop.decision.verdict == PROMOTE
    # the candidate was made again, and nobody has decided on it
    shop.land(sessions(seed=2), ("random",), "random")
    shop.make(release_assets[0])
    shop.make(champion)
    assert shop.in_charge == "markov_chain"
    assert "another one than when the gate decided" in read_state(shop.paths).sentence


def test_two_roll_backs_lead_to_the_first_release(shop: Shop) -> None:
    for seed in range(3):
        assert shop.night(sessions(seed=seed)).verdict == PROMOTE
    one, two, _ = (event.release for event in read_history(shop.paths.asset("release")))
    assert roll_back(shop.paths).release == two
    assert roll_back(shop.paths).release == one


def _killed_at(call: int, change: Callable[[], object]) -> bool:
    """Change the release in a process that is killed before it puts a file in place; whether it was."""

    def body() -> None:
        calls = count()

        def counted(original: Callable) -> Callable:
            def run(*given: object, **named: object) -> object:
                if next(calls) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*given, **named)

            return run

        for name in ("replace", "rename", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        change()

    process = get_context("fork").Process(target=body)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize("by_hand", others_slow([False, True], False))
def test_a_promotion_that_is_killed_at_any_call_is_done_or_not_done(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, by_hand: bool
) -> None:
    """Whatever comes next finds a history that says what is in charge: here a roll-back."""
    from ml.release.gate.decision import digest_of

    shop.night(sessions())
    shop.land(sessions(seed=1))
    shop.make(*release_assets[:2])
    first = read_state(shop.paths)
    release = shop.paths.asset("release")
    before = tmp_path_factory.mktemp("before") / "release"
    shutil.copytree(release, before, symlinks=True)
    outcomes = []
    for call in count():
        shutil.rmtree(release)
        shutil.copytree(before, release, symlinks=True)
        change = partial(promote, shop.paths, reason="a look") if by_hand else partial(settle, shop.paths)
        killed = _killed_at(call, change)
        in_charge = digest_of(raw2rank.load(shop.paths.champion))
        state = complete(shop.paths)
        assert state is None or state.release == in_charge
        assert read_state(shop.paths).release == in_charge, call
        done = in_charge != first.release
        assert [one[0] for one in shop.events()] == [PROMOTED, *[PROMOTED_BY_HAND if by_hand else PROMOTED] * done]
        outcomes.append(done)
        if not done:
            with pytest.raises(ReleaseError, match="there is no release before"):
                roll_back(shop.paths)
            change()
        assert roll_back(shop.paths).release == first.release, call
        if not killed:
            break
    # the bundle is put in place in one step, with others before it and after it
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) >= 3
    assert outcomes.count(True) >= 4


def test_jobs_promote_and_roll_back_and_record_the_champion(shop: Shop) -> None:
    shop.night(sessions())
    shop.night(sessions(seed=1))
    first, second = (one.release for one in read_history(shop.paths.asset("release")))
    by_name = {job.name: job for job in release_jobs}

    def run(name: str, op: str, config: dict[str, str]) -> str:
        ops = {"ops": {op: {"config": config}}}
        assert by_name[name].execute_in_process(ops, instance=shop.instance, partition_key="Small").success
        record = shop.instance.get_latest_data_version_record(champion.key, partition_key="Small")
        return record.event_log_entry.tags["dagster/data_version"]

    assert run("rollback", "put_the_last_in_charge", {"reason": "complaints"}) == first
    assert run("promote", "put_in_charge", {"version": second[:10], "reason": "it was us"}) == second
    last = read_history(shop.paths.asset("release"))[-1]
    assert (last.event, last.why, bool(last.run)) == (PROMOTED_BY_HAND, "it was us", True)
    with pytest.raises(dg.Failure, match="Small: there is no release 0000 that can be loaded"):
        run("promote", "put_in_charge", {"version": "0000"})


def test_equal_nights_give_equal_versions(shop: Shop) -> None:
    """Times differ from run to run and are no part of a version."""

    def versions() -> list[str]:
        shop.land(sessions(seed=1))
        return [made.data_version.value for made in shop.make()]

    shop.night(sessions())
    found = versions()
    roll_back(shop.paths)
    # as before the first of both nights
    (shop.paths.asset("release") / "history.jsonl").unlink()
    assert versions() == found


def test_the_page_escapes_what_the_data_say(shop: Shop) -> None:
    found = shop.night(sessions())
    page = decision_page(found, "<script>alert(1)</script>", "2026-01-01")
    assert "<script" not in page
    assert "better_than_most_popular" in page
    assert "Promoted" in page


def test_the_lineage_has_the_release_at_its_end() -> None:
    graph = defs.resolve_asset_graph()
    parents = graph.get(decision.key).parent_keys
    assert dg.AssetKey(["release", "candidate"]) in parents
    # the champion is read as a folder: as an input of anything that leads to it, it would be a circle
    assert {key.path[0] for key in graph.get(champion.key).child_keys} <= {"release"}
    assert champion.key not in graph.get_ancestor_asset_keys(decision.key)
    assert decision.key in graph.get(dg.AssetKey(["evaluation", "report"])).parent_keys
    assert {"promote", "rollback"} <= {job.name for job in defs.resolve_all_job_defs()}
