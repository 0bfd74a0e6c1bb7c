"""How much the identifiers matter to models that generate them, and which recommenders find items that are new.

    python -m benchmarks.identifiers --data <folder> --protocol beauty_2014 --out <folder> [--seeds 3]
    python -m benchmarks.identifiers --data <folder> --protocol industrial_2018 --out <folder> --cold .05

The data are those of a protocol of ``ml/reproduction/protocols``, prepared as ``make reproduce`` prepares them: the
folder holds their files, at any depth. ``RAW2RANK_RECIPES`` may name another folder of recipes.

Without ``--cold`` every model is trained on the codes of every recipe of codes. The table has nDCG@10 and recall@10 of
the test users, means over the seeds, beside the quality of the codes; below it stands Spearman's correlation of each
measure of quality with nDCG@10 over the recipes of codes. Recipes that cannot assign codes to these items, or whose
codes are not unique or equal to those of another recipe, are left out, with the reason. Models whose item vectors codes
are made of are trained once for each seed.

With ``--cold`` a share of the items is removed from all histories and from the validation targets, chosen by a hash of
the item's id. Only test targets can be such an item, and cold and warm targets are reported apart. The catalogue stays
whole. Needs item text.

Each trained model leaves a file of JSON in the folder ``--out``, and is not trained again while recipe, codes, data,
seed, device and threads are the same; after a change of the code give another folder. The table is printed, and written
to ``<protocol>.md`` or ``<protocol>_cold.md`` there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ml.baselines.registry import BASELINES
from ml.codes.codes import Codes
from ml.codes.recipe import CodesRecipe, load_codes_recipes
from ml.codes.vectors import Trained
from ml.data.files import atomic_file
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import metric_values, user_metrics
from ml.evaluation.rankings import rank
from ml.recommender import Recommender
from ml.recommenders.registry import recipes
from ml.search.space import with_values
from ml.training.recipe import Recipe

CODES = (
    "random_identifiers",
    "p5_sequential",
    "p5_collaborative",
    "svd_identifiers",
    "graph",
    "text_and_graph",
    "balanced_tree",
    "rq_vae",
)
MODELS = ("item_codes_tree", "item_codes_ar")
METRICS = ("ndcg@10", "recall@10")
COLD_CODES = "text_and_graph"
_DEPTH = 10


@dataclass(frozen=True)
class Quality:
    """The quality of codes as identifiers; ``None`` where it is not known.

    Attributes:
        neighbours: share of neighbours in the training histories that have the same first code.
        over_chance: that share divided by the share of items drawn as often as they occur.
        entropy: of the first code, in bits.
        collisions: items that shared their codes with another before collisions were resolved.
    """

    neighbours: float | None
    over_chance: float | None
    entropy: float | None
    collisions: float | None


QUALITY_TITLES = {
    "neighbours": "neighbours with equal first code",
    "over_chance": "times chance",
    "entropy": "entropy of level 1, bits",
    "collisions": "items in collisions before the repair",
}


@dataclass(frozen=True)
class Setting:
    """What all fits share: folder of results, threads, device, and whether seen items are left out of rankings."""

    out: Path
    exclude_seen: bool
    threads: int = 1
    device: str = "cpu"


# ---- pure functions


def quality_of(codes: Codes) -> Quality:
    """Read the quality of codes from their report."""
    report = codes.report
    level, book = report["by_level"][0], report["by_book"][0]
    together, chance = level["neighbours_sharing_prefix"], level["sharing_prefix_by_chance"]
    ratio = together / chance if together is not None and chance else None
    collisions = report.get("before_collisions_were_resolved", report)["items_in_collisions"]
    return Quality(together, ratio, book["entropy_bits"], collisions)


def mean_quality(qualities: Sequence[Quality]) -> Quality:
    """Mean of each measure over the seeds, ``None`` where one of them is not known."""
    means = {}
    for name in QUALITY_TITLES:
        values = [getattr(quality, name) for quality in qualities]
        means[name] = None if None in values else statistics.fmean(values)
    return Quality(**means)


def spearman(first: Sequence[float | None], second: Sequence[float | None]) -> float | None:
    """Spearman's correlation of the pairs of which both are known; ``None`` for fewer than three, or constant ones."""
    from scipy.stats import spearmanr

    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if len(pairs) < 3 or any(len(set(column)) < 2 for column in zip(*pairs, strict=True)):
        return None
    left, right = zip(*pairs, strict=True)
    return float(spearmanr(left, right).statistic)


def is_cold(item_ids: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Which items are removed: about ``share`` of them, by a hash of seed and id, bool ``[items]``.

    An item's fate does not depend on the other items.

    Raises:
        ValueError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"--cold must be above 0 and below 1, not {share:g}")
    digests = (hashlib.sha256(f"{seed} ".encode() + bytes(item)).digest() for item in item_ids)
    return np.array([int.from_bytes(digest[:8], "big") < share * 2**64 for digest in digests], dtype=bool)


def without_cold(training_set: TrainingSet, cold: np.ndarray) -> TrainingSet:
    """The training set without the cold items in histories and validation targets; test cases and catalogue stay."""
    kept = ~cold[training_set.validation_targets]
    between = training_set.before_validation
    return replace(
        training_set,
        train=_without(training_set.train, cold),
        validation_users=training_set.validation_users[kept],
        validation_targets=training_set.validation_targets[kept],
        before_validation=None if between is None else _without(between.take(np.flatnonzero(kept)), cold),
        before_test=_before_test(training_set, kept, cold),
        protocol=training_set.protocol | {"cold_items": int(cold.sum())},
    )


def _before_test(training_set: TrainingSet, kept: np.ndarray, cold: np.ndarray) -> Sequences | None:
    """What lies before a test target, of users whose validation case is gone with what lay before that."""
    between = training_set.before_test
    if training_set.before_validation is None:
        return None if between is None else _without(between, cold)
    rows = Sequences.empty(len(training_set.test_users)) if between is None else between
    lost = {int(training_set.validation_users[case]): case for case in np.flatnonzero(~kept)}
    before = [
        np.asarray(training_set.before_validation[lost[user]]) if user in lost else np.empty(0, dtype=np.int32)
        for user in training_set.test_users.tolist()
    ]
    return _without(Sequences.from_lists(before).followed_by(rows), cold)


def _without(rows: Sequences, cold: np.ndarray) -> Sequences:
    keep = ~cold[rows.items]
    counted = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
    return Sequences(np.asarray(rows.items)[keep], counted[rows.offsets], rows.users)


def chance(items: int) -> dict[str, float]:
    """Expected metrics of a random order of all items."""
    places = min(_DEPTH, items)
    return {"ndcg@10": float((1 / np.log2(np.arange(places) + 2)).sum() / items), "recall@10": places / items}


def key_of(**decisive: Any) -> str:
    """Digest of what decides a result."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def kept(file: Path, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result in the file where it has this key, else a new one, which replaces the file."""
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["key"] == key:
            return known["result"]
    result = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps({"key": key, "result": result}, indent=2) + "\n", encoding="utf-8")
    return result


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> list[str]:
    """Lines of a table, of which the first columns are aligned to the left."""
    rules = ["---" if column < left else "---:" for column in range(len(header))]
    return [f"| {' | '.join(cells)} |" for cells in (header, rules, *rows)]


def number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def books_table(
    results: Mapping[tuple[str, str], Sequence[Mapping[str, float]]], qualities: Mapping[str, Quality]
) -> list[str]:
    """Lines of the table of codes and models, and of the correlations.

    Args:
        results: by codes and model, the metrics of each seed.
        qualities: by codes.
    """
    header = ["codes", "model", *METRICS, *QUALITY_TITLES.values()]
    rows, ndcg = [], defaultdict(dict)
    for (codes, model), by_seed in results.items():
        means = [statistics.fmean(row[metric] for row in by_seed) for metric in METRICS]
        ndcg[model][codes] = means[0]
        quality = qualities[codes]
        cells = [number(quality.neighbours), number(quality.over_chance, 1), number(quality.entropy, 2)]
        rows.append([codes, model, *map(number, means), *cells, number(quality.collisions, 0)])
    lines = [*markdown(header, rows, left=2), "", "Spearman's correlation with nDCG@10 over the recipes of codes:", ""]
    rows = []
    for model, by_codes in ndcg.items():
        measures = [[getattr(qualities[codes], name) for codes in by_codes] for name in QUALITY_TITLES]
        found = [spearman(measure, list(by_codes.values())) for measure in measures]
        rows.append([model, str(len(by_codes)), *(number(value, 2) for value in found)])
    return lines + markdown(["model", "recipes of codes", *QUALITY_TITLES.values()], rows, left=1)


def cold_table(results: Mapping[str, Sequence[Mapping[str, Any]]], items: int) -> list[str]:
    """Lines of the table of recommenders, for cold and warm targets.

    Args:
        results: by the title of the recommender, for each seed the metrics by kind of target (``cold``, ``warm``).
        items: of the catalogue.
    """
    kinds = ("cold", "warm")
    header = ["recommender", *(f"{metric}, {kind} targets" for kind in kinds for metric in METRICS)]
    rows = [
        [title, *(number(_mean(row[kind][metric] for row in by_seed)) for kind in kinds for metric in METRICS)]
        for title, by_seed in results.items()
    ]
    by_chance = [number(chance(items)[metric]) for _ in kinds for metric in METRICS]
    return markdown(header, [*rows, ["chance", *by_chance]], left=1)


def _mean(values: Iterable[float | None]) -> float | None:
    """``None`` where there was no target of the kind."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


# ---- fits


def metrics_of(
    recommender: Recommender, training_set: TrainingSet, exclude_seen: bool, cold: np.ndarray | None = None
) -> dict[str, Any]:
    """Metrics of all test users, or by kind of target where ``cold`` says which items are cold."""
    per_user = user_metrics(rank(recommender, training_set, "benchmark", 0, _DEPTH, exclude_seen), training_set)
    values = {metric: metric_values(per_user, metric) for metric in METRICS}
    if cold is None:
        return {metric: float(of_users.mean()) for metric, of_users in values.items()}
    masks = {"cold": cold[training_set.test_targets], "warm": ~cold[training_set.test_targets]}
    return {
        kind: {metric: float(of_users[mask].mean()) if mask.any() else None for metric, of_users in values.items()}
        for kind, mask in masks.items()
    }


def key_of_fit(recipe: Recipe, training_set: TrainingSet, seed: int, setting: Setting, **further: Any) -> str:
    """Digest of what decides a trained recipe, and of what else decides the result."""
    return key_of(
        recipe=recipe.digest(),
        training_set=training_set.digest(),
        seed=seed,
        exclude_seen=setting.exclude_seen,
        threads=setting.threads,
        device=setting.device,
        **further,
    )


def trained(recipe: Recipe, training_set: TrainingSet, codes: Codes | None, seed: int, setting: Setting) -> Recommender:
    """A recipe, trained on these codes."""
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    return SequentialRecommender(
        recipe,
        seed,
        codes,
        execution=Execution(threads=setting.threads, device=setting.device, progress=True),
        validate_with_seen_excluded=setting.exclude_seen,
    ).fit(training_set)


def measured(
    file: Path,
    recipe: Recipe,
    training_set: TrainingSet,
    codes: Codes | None,
    seed: int,
    setting: Setting,
    cold: np.ndarray | None = None,
) -> dict[str, Any]:
    """Metrics of a trained recipe: those in the file where nothing that decides them has changed."""
    key = key_of_fit(
        recipe,
        training_set,
        seed,
        setting,
        codes=None if codes is None else codes.digest(),
        cold=None if cold is None else np.flatnonzero(cold).tolist(),
    )

    def make() -> dict[str, Any]:
        began = time.perf_counter()
        fitted = trained(recipe, training_set, codes, seed, setting)
        seconds = time.perf_counter() - began
        return {"seconds": seconds} | metrics_of(fitted, training_set, setting.exclude_seen, cold)

    result = kept(file, key, make)
    print(f"{file.stem}: {json.dumps(result)}", file=sys.stderr, flush=True)
    return result


def trained_vectors(
    name: str, models: Mapping[str, Recipe], training_set: TrainingSet, seed: int, setting: Setting
) -> np.ndarray:
    """The item vectors of a trained recipe: those in the folder where nothing that decides them has changed.

    Raises:
        ValueError: there is no such recipe.
    """
    if name not in models:
        raise ValueError(f"there is no recipe {name} whose item vectors they could be made of")
    recipe = models[name]
    key = key_of_fit(recipe, training_set, seed, setting)
    file = setting.out / f"vectors-{name}-seed-{seed}-{key[:16]}.npy"
    if not file.is_file():
        from ml.recommenders.item_vectors import item_vectors

        vectors = item_vectors(trained(recipe, training_set, None, seed, setting))
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, vectors, allow_pickle=False)
    return np.load(file, allow_pickle=False)


def assigned(
    recipes: Sequence[CodesRecipe], training_set: TrainingSet, seed: int, vectors_of: Trained | None = None
) -> tuple[dict[str, Codes], list[str]]:
    """Codes by recipe, and a sentence for each recipe that is left out.

    Args:
        recipes: of codes.
        training_set: whose items get codes.
        seed: of the codes.
        vectors_of: gives the item vectors of trained recipes, for codes that are made of these.
    """
    codes: dict[str, Codes] = {}
    left_out = []
    for recipe in recipes:
        try:
            made = recipe.assign(training_set, seed, vectors_of)
        except ValueError as error:
            # documented: no codes can be assigned to these items, and the message says why
            left_out.append(f"{recipe.name} is left out: {error}")
            continue
        equal = [name for name, other in codes.items() if other.digest() == made.digest()]
        if len(np.unique(made.values, axis=0)) < made.items:
            left_out.append(f"{recipe.name} is left out: its codes are not unique")
        elif equal:
            left_out.append(f"{recipe.name} is left out: its codes are those of {equal[0]} on these items")
        else:
            codes[recipe.name] = made
    return codes, left_out


def books(
    training_set: TrainingSet,
    codes_recipes: Sequence[CodesRecipe],
    recipes: Sequence[Recipe],
    seeds: int,
    setting: Setting,
    under_codes: Mapping[str, Recipe] | None = None,
) -> list[str]:
    """Train every recipe on the codes of every recipe of codes; lines of the report.

    Args:
        training_set: with item text where there is any.
        codes_recipes: of codes.
        recipes: of models that generate identifiers.
        seeds: of codes and models.
        setting: of all fits.
        under_codes: recipes by name, of which codes may be made of the item vectors.
    """
    results: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    qualities: dict[str, list[Quality]] = defaultdict(list)
    notes: dict[str, None] = {}
    for seed in range(seeds):
        vectors_of = partial(
            trained_vectors, models=under_codes or {}, training_set=training_set, seed=seed, setting=setting
        )
        by_recipe, left_out = assigned(codes_recipes, training_set, seed, vectors_of)
        notes |= dict.fromkeys(left_out)
        for name, codes in by_recipe.items():
            qualities[name].append(quality_of(codes))
            for recipe in recipes:
                file = setting.out / f"{name}-{recipe.name}-seed-{seed}.json"
                result = measured(file, replace(recipe, codes=name), training_set, codes, seed, setting)
                results[name, recipe.name].append(result)
    if not results:
        raise ValueError(f"no recipe of codes can be used: {'; '.join(notes)}")
    lines = books_table(results, {name: mean_quality(of_seeds) for name, of_seeds in qualities.items()})
    return lines + [part for note in notes for part in ("", f"{note}.")]


def cold_items(
    training_set: TrainingSet, share: float, cold_seed: int, recipes: Mapping[str, Recipe], seeds: int, setting: Setting
) -> list[str]:
    """Recommenders on a training set without the cold items; lines of the report.

    Args:
        training_set: with item text.
        share: of the items that are removed.
        cold_seed: of the hash that chooses them.
        recipes: must hold ``item_codes_tree`` and ``sasrec_sampled_softmax``.
        seeds: of each trained recommender.
        setting: of all fits.

    Raises:
        ValueError: there is no item text, or no test target is cold.
    """
    if training_set.item_text is None or not any(text.strip() for text in training_set.item_text):
        raise ValueError(f"--cold needs item text, and {training_set.dataset} has none: choose another protocol")
    cold = is_cold(training_set.item_ids, share, cold_seed)
    targets = int(cold[training_set.test_targets].sum())
    if targets == 0:
        raise ValueError(f"no test target is among the {int(cold.sum())} cold items: give a larger share as --cold")
    warm = without_cold(training_set, cold)
    tree, prefix, dense = (
        replace(recipes[name], codes=COLD_CODES) for name in ("item_codes_tree", "item_codes_ar", "item_codes_liger")
    )
    compared = {
        f"tree, {COLD_CODES}": tree,
        f"tree, {COLD_CODES}, reads codes alone": with_values(tree, {"model.reads": "codes"}),
        "SASRec, items alone": recipes["sasrec_sampled_softmax"],
        f"code by code, {COLD_CODES}, reads codes alone": with_values(prefix, {"model.reads": "codes"}),
        f"tree, {COLD_CODES}, ranked densely, reads codes alone": with_values(dense, {"model.reads": "codes"}),
    }
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    codes_recipe = load_codes_recipes()[COLD_CODES]
    for seed in range(seeds):
        codes = codes_recipe.assign(warm, seed)
        for place, (title, recipe) in enumerate(compared.items()):
            file = setting.out / f"cold-{place}-{recipe.name}-seed-{seed}.json"
            own = codes if recipe.codes else None
            results[title].append(measured(file, recipe, warm, own, seed, setting, cold))
    for title, name in (("BM25 on text", "bm25_last_item"), ("two-hop graph", "two_hop_graph")):
        fitted = BASELINES[name].create(0).fit(warm)
        results[title].append(metrics_of(fitted, warm, setting.exclude_seen, cold))
    cases = len(training_set.test_targets)
    about = f"{int(cold.sum()):,} of {training_set.items:,} items are cold, and {targets:,} of {cases:,} test targets."
    return [about, "", *cold_table(results, training_set.items)]


# ---- command


def main(arguments: list[str] | None = None) -> None:
    chosen = _parser().parse_args(arguments)
    from ml.reproduction.claims import load_protocols
    from orchestration.commands.reproduce import find, prepare
    from orchestration.paths import Workspace

    # the workspace of make reproduce, so that data are prepared once for both
    os.environ["RAW2RANK_HOME"] = str(Workspace.current().home / "reproduction")
    protocol = load_protocols()[chosen.protocol]
    training_set = prepare(protocol, find(chosen.data, protocol.file))
    setting = Setting(chosen.out / protocol.name, protocol.exclude_seen, chosen.threads, chosen.device)
    if chosen.cold is not None:
        lines = cold_items(training_set, chosen.cold, chosen.cold_seed, recipes(), chosen.seeds, setting)
    else:
        codes = load_codes_recipes()
        lines = books(
            training_set,
            [codes[name] for name in chosen.codes],
            [recipes()[name] for name in chosen.models],
            chosen.seeds,
            setting,
            recipes(),
        )
    text = "\n".join([f"{protocol.title}; seeds: {chosen.seeds}.", "", *lines]) + "\n"
    with atomic_file(chosen.out / f"{protocol.name}{'' if chosen.cold is None else '_cold'}.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text, end="")


def _parser() -> argparse.ArgumentParser:
    from ml.reproduction.claims import load_protocols

    generating = [name for name, recipe in recipes().items() if recipe.objective_name == "code_cross_entropy"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that holds the files, at any depth")
    add("--protocol", default="beauty_2014", choices=list(load_protocols()))
    add("--out", type=Path, required=True, help="folder of the results")
    add("--codes", nargs="+", default=list(CODES), choices=list(load_codes_recipes()), metavar="CODES")
    add("--models", nargs="+", default=list(MODELS), choices=generating, metavar="MODEL")
    add("--seeds", type=_positive, default=1, help="how many, from 0")
    add("--cold", type=float, help="share of the items that are removed from training, as .05")
    add("--cold-seed", type=int, default=0, help="another one removes other items")
    add("--threads", type=_positive, default=1, help="of torch")
    add("--device", default="cpu", choices=("cpu", "cuda"))
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


if __name__ == "__main__":
    main()
