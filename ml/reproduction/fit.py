"""Fit a recommender with one seed, keep it, and measure it on the test users."""

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

from ml.data.item_text import item_text_digest
from ml.data.times import times_digest
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import metric_values, user_metrics
from ml.evaluation.rankings import rank
from ml.models.settings import needs_item_text
from ml.recommender import Recommender
from ml.recommenders.fit import Conditions, depends_on_seed
from ml.recommenders.fit import fit as fit_by_name
from ml.recommenders.load import load
from ml.recommenders.registry import Registry, library_registry
from ml.reproduction.claims import Claim
from ml.reproduction.results import Result

_DEPTH = 20
_FITTED = "fitted"


@dataclass(frozen=True)
class Bench:
    """Everything that the fits on one dataset share.

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
        recommender: name of a baseline, or of a recipe of a model, fusion or re-ranking.
        fit_on: what the final fit sees.
        seed: of the fit; 0 where nothing is random.
        metric: that is kept for each user.
    """

    recommender: str
    fit_on: str
    seed: int
    metric: str


def needed_fits(claims: Sequence[Claim]) -> list[Fit]:
    """The fits needed for some claims, without repetition, parts before what is made of them."""
    fits = [
        Fit(name, claim.fit_on, seed, claim.metric)
        for claim in claims
        for name in (claim.recommender, *claim.above)
        for seed in _seeds(name, claim)
    ]
    parts = [replace(fit, recommender=part) for fit in fits for part in _known().built_on(fit.recommender)]
    return sorted(dict.fromkeys(parts + fits), key=_stage)


def fit_all(bench: Bench, fits: Sequence[Fit], processes: int, tell: Callable[[str], None]) -> None:
    """Make what is not there yet, several side by side; what is made of parts after these."""
    for number in sorted({_stage(fit) for fit in fits}):
        stage = [fit for fit in fits if _stage(fit) == number]
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
    """Results of a recommender for a claim, one per seed; missing ones are omitted."""
    fits = [Fit(name, claim.fit_on, seed, claim.metric) for seed in _seeds(name, claim)]
    results = [Result.load(_folder(folder, fit) / fit.metric) for fit in fits]
    return [result for result in results if result is not None]


def _fitted(bench: Bench, fit: Fit, folder: Path) -> Recommender:
    """The recommender, fitted now; a trained one is left in its folder, for what it is a part of."""
    known = _known()
    conditions = Conditions(fit.seed, fit.fit_on, bench.exclude_seen, bench.device, threads=bench.threads)
    parts: dict[str, Recommender] = {}
    for part in known.built_on(fit.recommender):
        part_fit = replace(fit, recommender=part)
        measured(bench, part_fit)
        at = _folder(bench.folder, part_fit)
        parts[part] = _loaded(part, at) or _fitted(bench, part_fit, at)
    return fit_by_name(fit.recommender, bench.training_set, conditions, known, parts, folder / _FITTED)


def _loaded(part: str, folder: Path) -> Recommender | None:
    """A trained part as an earlier fit left it; baselines are not kept."""
    kept = folder / _FITTED
    return load(part, lambda _: kept, _known(), 0) if kept.exists() else None


def _seeds(name: str, claim: Claim) -> range:
    """Seeds that a recommender is fitted with: those of the claim, one where nothing is random."""
    return range(claim.seeds if depends_on_seed(name) else 1)


def _stage(fit: Fit) -> int:
    """Fits of a stage need those of the stages before."""
    built_on = _known().built_on(fit.recommender)
    return max((1 + _stage(replace(fit, recommender=part)) for part in built_on), default=0)


def _folder(folder: Path, fit: Fit) -> Path:
    return folder / fit.recommender / fit.fit_on / f"seed-{fit.seed}"


def _key(bench: Bench, fit: Fit) -> str:
    """Digest of all that decides the values."""
    name, known = fit.recommender, _known()
    decisive = {
        "training_set": bench.training_set.digest(),
        "recommender": name,
        "fit_on": fit.fit_on,
        "seed": fit.seed,
        "exclude_seen": bench.exclude_seen,
        "threads": bench.threads,
        "device": bench.device,
        "code": bench.code,
        "recipes": {part: known.recipes[part].digest() for part in _named_recipes(name)},
        "fusion": known.fusions[name].digest() if name in known.fusions else None,
        **({"reranking": known.rerankings[name].digest()} if name in known.rerankings else {}),
        **({"alignment": known.alignments[name].digest()} if name in known.alignments else {}),
        **({"language_model": known.language_models[name].digest()} if name in known.language_models else {}),
        **({"codes": codes} if (codes := _named_codes(name)) else {}),
        **({"teacher_lists": taught} if (taught := _named_lists(name)) else {}),
        **({"item_text": _text_digest(bench.training_set)} if _reads_item_text(name) else {}),
        **({"times": times_digest(bench.training_set.train)} if _reads_times(name) else {}),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _named_recipes(name: str) -> list[str]:
    """Recipes that a recommender is, or is built on."""
    return sorted(part for part in (*_known().built_on(name), name) if part in _known().recipes)


def _named_codes(name: str) -> dict[str, str]:
    """Digests of the recipes of the codes that a recommender, or what it is built on, is built on."""
    named = [_known().recipes[part].codes for part in _named_recipes(name)]
    return {codes: _known().codes[codes].digest() for codes in named if codes is not None}


def _named_lists(name: str) -> dict[str, str]:
    """Digests of the recipes of the lists that a recommender, or what it is built on, is taught."""
    named = [_known().recipes[part].teacher_lists for part in _named_recipes(name)]
    return {lists: _known().teacher_lists[lists].digest() for lists in named if lists is not None}


def _reads_item_text(name: str) -> bool:
    """Whether a model that a recommender is, or is built on, reads item text."""
    return any(needs_item_text(_known().recipes[part].model) for part in _named_recipes(name))


def _reads_times(name: str) -> bool:
    """Whether a model that a recommender is, or is built on, reads the times of interactions."""
    return any(_known().recipes[part].reads_times for part in _named_recipes(name))


def _text_digest(training_set: TrainingSet) -> str | None:
    """Digest of the item text; ``None`` where there is none, which the fit refuses."""
    texts = training_set.item_text
    return None if texts is None else item_text_digest(training_set.item_ids, texts)


@cache
def _known() -> Registry:
    return library_registry()


def _machine(bench: Bench) -> str:
    import torch

    if bench.device == "cuda":
        where = torch.cuda.get_device_name()
    else:
        where = f"{bench.threads} threads of a {platform.machine()} CPU ({torch.backends.cpu.get_cpu_capability()})"
    return f"{where}, torch {torch.__version__}"
