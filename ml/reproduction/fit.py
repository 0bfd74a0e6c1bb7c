"""One recommender fitted with one seed, kept where it lies, and measured on the test users."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ml.baselines import BASELINES
from ml.codes import ASSIGNMENTS
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import metric_values, user_metrics
from ml.evaluation.rankings import rank
from ml.fusion.fused_recommender import FusedRecommender, load_recommender
from ml.fusion.recipe import FusionRecipe, load_fusions
from ml.recommender import Recommender
from ml.reproduction.claims import Claim
from ml.reproduction.results import Result
from ml.training.recipe import Recipe, load_recipes
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.train import train

_DEPTH = 20
_FITTED = "fitted"


@dataclass(frozen=True)
class Bench:
    """What all fits on one dataset share.

    Attributes:
        training_set: with item text where the dataset has it.
        exclude_seen: whether a user's own items are left out of rankings.
        folder: where results are kept.
        code: digest of the code; results of other code are not taken.
        threads: of torch.
        device: ``cpu`` or ``cuda``.
    """

    training_set: TrainingSet
    exclude_seen: bool
    folder: Path
    code: str
    threads: int = 2
    device: str = "cpu"


@dataclass(frozen=True)
class Fit:
    """A recommender to fit.

    Attributes:
        recommender: name of a baseline, a recipe or a fusion.
        fit_on: what the final fit sees.
        seed: of the fit; 0 where nothing is random.
        metric: that is kept for each user.
    """

    recommender: str
    fit_on: str
    seed: int
    metric: str


def needed_fits(claims: Sequence[Claim]) -> list[Fit]:
    """What has to be fitted for some claims, each once, parts of fusions before the fusions."""
    fits = [
        Fit(name, claim.fit_on, seed, claim.metric)
        for claim in claims
        for name in (claim.recommender, *claim.above)
        for seed in _seeds(name, claim)
    ]
    fusions = _fusions()
    parts = [
        replace(fit, recommender=part)
        for fit in fits
        if fit.recommender in fusions
        for part in fusions[fit.recommender].parts
    ]
    return sorted(dict.fromkeys(parts + fits), key=lambda fit: fit.recommender in fusions)


def fit_all(bench: Bench, fits: Sequence[Fit], processes: int, tell: Callable[[str], None]) -> None:
    """Make what is not there yet, several side by side; fusions after everything else."""
    fusions = _fusions()
    for stage in (
        [fit for fit in fits if fit.recommender not in fusions],
        [fit for fit in fits if fit.recommender in fusions],
    ):
        for fit, result in zip(stage, _map(partial(measured, bench), stage, processes), strict=True):
            said = f"{fit.recommender}, {fit.fit_on}, seed {fit.seed}"
            tell(f"    {said}: {result.mean:.4f} ({result.seconds:.0f} s)")


def _map(function: Callable[[Fit], Result], fits: list[Fit], processes: int) -> Iterator[Result]:
    """Results in the order of the fits, from so many processes; from this one where one is enough."""
    if processes <= 1:
        yield from map(function, fits)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, fits)


def measured(bench: Bench, fit: Fit) -> Result:
    """Fit and measure, or take what an equal fit left."""
    key = _key(bench, fit)
    folder = _folder(bench.folder, fit)
    known = Result.load(folder / fit.metric)
    if known is not None and known.key == key:
        return known
    began = time.perf_counter()
    recommender = _fitted(bench, fit, folder)
    seconds = time.perf_counter() - began
    rankings = rank(recommender, bench.training_set, fit.recommender, fit.seed, _DEPTH, bench.exclude_seen)
    values = metric_values(user_metrics(rankings, bench.training_set), fit.metric)
    result = Result(key, fit.recommender, fit.seed, seconds, _machine(bench), values)
    result.save(folder / fit.metric)
    return result


def results_of(folder: Path, name: str, claim: Claim) -> list[Result]:
    """What was measured of a recommender for a claim, one a seed; those that were not are left out."""
    fits = [Fit(name, claim.fit_on, seed, claim.metric) for seed in _seeds(name, claim)]
    results = [Result.load(_folder(folder, fit) / fit.metric) for fit in fits]
    return [result for result in results if result is not None]


def _fitted(bench: Bench, fit: Fit, folder: Path) -> Recommender:
    """The recommender, fitted now; a trained one is left in its folder, for fusions that it is a part of."""
    name, training_set = fit.recommender, bench.training_set
    if name in BASELINES:
        return BASELINES[name].create(fit.seed).fit(training_set.to_fit_on(fit.fit_on))
    if name in _fusions():
        fusion = _fusions()[name]
        parts = {}
        for part in fusion.parts:
            part_fit = replace(fit, recommender=part)
            measured(bench, part_fit)
            at = _folder(bench.folder, part_fit) / _FITTED
            parts[part] = load_recommender(part, at) if at.exists() else _fitted(bench, part_fit, at)
        options: dict[str, Any] = {"fit_on": fit.fit_on, "exclude_seen": bench.exclude_seen, "seed": fit.seed}
        return FusedRecommender(parts, fusion.depth, **options).choose(training_set)
    recipe = _recipes()[name]
    codes = ASSIGNMENTS[recipe.codes].assign(training_set, seed=fit.seed) if recipe.codes else None
    train(
        recipe,
        training_set,
        folder / _FITTED,
        fit.seed,
        codes,
        progress=False,
        threads=bench.threads,
        fit_on=fit.fit_on,
        validate_with_seen_excluded=bench.exclude_seen,
        device=bench.device,
    )
    return SequentialRecommender.load(folder / _FITTED)


def _seeds(name: str, claim: Claim) -> range:
    """Seeds that a recommender is fitted with: those of the claim, one where nothing is random."""
    random = name not in BASELINES or BASELINES[name].seeded
    return range(claim.seeds if random else 1)


def _folder(folder: Path, fit: Fit) -> Path:
    return folder / fit.recommender / fit.fit_on / f"seed-{fit.seed}"


def _key(bench: Bench, fit: Fit) -> str:
    """Digest of all that decides the values."""
    name = fit.recommender
    decisive = {
        "training_set": bench.training_set.digest(),
        "recommender": name,
        "fit_on": fit.fit_on,
        "seed": fit.seed,
        "exclude_seen": bench.exclude_seen,
        "threads": bench.threads,
        "device": bench.device,
        "code": bench.code,
        "recipes": {part: _recipes()[part].digest() for part in _named_recipes(name)},
        "fusion": _fusions()[name].digest() if name in _fusions() else None,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _named_recipes(name: str) -> list[str]:
    """Recipes that a recommender is, or is made of."""
    names = _fusions()[name].parts if name in _fusions() else (name,)
    return sorted(part for part in names if part in _recipes())


@cache
def _recipes() -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in load_recipes()}


@cache
def _fusions() -> dict[str, FusionRecipe]:
    return {fusion.name: fusion for fusion in load_fusions()}


def _machine(bench: Bench) -> str:
    import torch

    if bench.device == "cuda":
        where = torch.cuda.get_device_name()
    else:
        where = f"{bench.threads} threads of a {platform.machine()} CPU ({torch.backends.cpu.get_cpu_capability()})"
    return f"{where}, torch {torch.__version__}"
