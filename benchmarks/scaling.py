"""How the cost of each stage grows with the number of reviews, and what that predicts for all of Amazon 2023.

    python benchmarks/scaling.py [--reviews 1000000 3000000 10000000 30000000 50000000] [--work FOLDER] [--json FILE]
    python benchmarks/scaling.py --read scaling.json [more.json]      # the tables of earlier runs, nothing measured

Stages, each a process of its own on a dump of ``synthetic.py``:

- *landing*: from gzip to Parquet, bad lines kept apart;
- *cleaning*: dbt with its tests, from landed Parquet to marts in Parquet (DuckDB limited to ``--memory``), less
  what the same takes on 10,000 reviews (dbt's start and parsing), which is no part of the growth;
- *arrays*: the training set from the splits, in the process of the cleaning;
- *epoch*: SASRec with sampled softmax and a dense table of items, one epoch;
- *ranking*: the best items of the whole catalogue for every test user, by that model; and the same for a sample of at
  most 20,000 of them (``TEST_USERS=20000``);
- *codes*: eight codes of every item, by truncated SVD of the training histories;
- *quantised epoch* and *quantised ranking*: the same of gSASRec on these codes (RecJPQ), ranked by PQTopK;
- *evaluation*: 25 metrics of every test user for one recommender.

Epochs, rankings and evaluation are measured on users drawn at random (``--users``), with the whole catalogue, and are
multiplied by the number of all users. That is exact in the number of users as far as users cost the same, and leaves
the growth with the catalogue to be measured.

For each stage and each of the seconds of all cores and the peak memory, ``a * reviews ** b`` is fitted by least squares
of the logarithms; other work on the machine lengthens the seconds by the clock far more than those of the cores.
Reported are b with its 95 % interval (Student's t) and the prediction for ``--predict`` reviews with its 95 % interval
for one new measurement. A prediction lies far outside of what was measured: it is as good as the law. The synthetic
catalogue and its users grow with the number of reviews.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

from data_path_steps import clean, land  # noqa: E402
from measuring import MILLION, Bench, Clock, Measurement, run_step  # noqa: E402

# of the reviews of all categories of Amazon 2023, as its authors count them
AMAZON_2023 = 571_540_000
SIZES = [MILLION, 3 * MILLION, 10 * MILLION, 30 * MILLION, 50 * MILLION]
SMALLEST = 10_000
AS_IN_A_RUN = {"tests": True, "export": True}
DENSE, QUANTISED = "sasrec_sampled_softmax", "gsasrec_recjpq"
LANDING, CLEANING, ARRAYS = "landing", "cleaning", "arrays"
EPOCH, RANKING, CODES, EVALUATION = "epoch", "ranking", "codes", "evaluation"
TEST_USERS = 20_000
RANKING_OF_SAMPLE = f"ranking, {TEST_USERS:,} test users"
QUANTISED_EPOCH, QUANTISED_RANKING = "quantised epoch", "quantised ranking"
STAGES = (
    *(LANDING, CLEANING, ARRAYS, EPOCH, RANKING, RANKING_OF_SAMPLE),
    *(CODES, QUANTISED_EPOCH, QUANTISED_RANKING, EVALUATION),
)
# a stage whose exponent lies above this with its whole interval grows faster than n log n: between 1 and 50 million,
# n log n itself looks like an exponent of 1.06
N_LOG_N = 1.06


# ---- steps: each runs in a process of its own


def learn(clock: Clock, folder: str, users: int, seed: int = 0) -> dict:
    """One epoch over some users, then the lists of some test users, and their metrics; the catalogue stays whole."""
    import numpy as np

    from ml.codes.svd import assign_svd_codes
    from ml.data.training_set import TrainingSet
    from ml.evaluation.metrics import metric_values, user_metrics
    from ml.evaluation.rankings import rank, rank_depth
    from ml.training.recipe import RECIPES, load_recipe
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    whole = TrainingSet.load(Path(folder))
    drawn = np.sort(np.random.default_rng(seed).permutation(whole.users)[:users])
    few = drawn[: max(1, len(drawn) // 10)]
    learned = of_users(whole, drawn, few[:0])
    tested = of_users(whole, few, few)
    execution = Execution(threads=len(os.sched_getaffinity(0)))
    with clock.phase(CODES):
        codes = assign_svd_codes(whole, seed=seed)
    for name, epoch, ranking in ((QUANTISED, QUANTISED_EPOCH, QUANTISED_RANKING), (DENSE, EPOCH, RANKING)):
        recipe = load_recipe(RECIPES / f"{name}.toml")
        once = replace(recipe.training, max_epochs=1, max_steps=0, patience=1, validate_every_steps=0)
        given = codes if name == QUANTISED else None
        recommender = SequentialRecommender(replace(recipe, training=once), seed, given, execution=execution)
        with clock.phase(epoch):
            recommender.fit(learned)
        with clock.phase(ranking):
            rankings = rank(recommender, tested, name, seed)
    with clock.phase(EVALUATION):
        table = user_metrics(rankings, tested)
        for name in ("recall", "ndcg", "mrr", "map", "precision"):
            for k in (1, 5, 10, 20, 50):
                metric_values(table, f"{name}@{k}")
    return {
        "users": whole.users,
        "items": whole.items,
        "test_cases": len(whole.test_users),
        "learned_users": len(drawn),
        "ranked_users": len(few),
        "depth": rank_depth(whole.items),
    }


def of_users(whole, users, tested):
    """The histories of some users of a training set, with all of its items; the last item of ``tested`` held out."""
    import numpy as np

    held = np.searchsorted(whole.test_users, tested)
    is_held = (held < len(whole.test_users)) & (whole.test_users[np.minimum(held, len(whole.test_users) - 1)] == tested)
    held = held[is_held]
    none = np.empty(0, dtype=np.int32)
    return replace(
        whole,
        user_ids=whole.user_ids[users],
        train=whole.train.take(users),
        validation_users=none,
        validation_targets=none,
        test_users=np.searchsorted(users, whole.test_users[held]).astype(np.int32),
        test_targets=whole.test_targets[held],
        before_validation=None,
        before_test=None,
        later_targets=None,
        validation_times=None,
        unmeasured=None,
        whole=None,
    )


STEPS = {step.__name__: step for step in (land, clean, learn)}


# ---- measuring


@dataclass(frozen=True)
class Cost:
    """What one stage cost at one size.

    Attributes:
        stage: its name.
        reviews: in the dump.
        seconds: on this machine.
        processor: seconds of all cores.
        peak: bytes of memory at most, of the process that the stage ran in.
        disk: bytes that the stage left on disk, 0 where it leaves none worth counting.
    """

    stage: str
    reviews: int
    seconds: float
    processor: float
    peak: int
    disk: int = 0


def fixed_cost(bench: Bench, memory: str) -> Measurement:
    """What cleaning costs where there is hardly anything to clean: dbt's start, its parsing and its statements."""
    lake = bench.staged(SMALLEST)
    with bench.scratch() as out:
        return bench.measure("cleaning of next to nothing", "clean", memory=memory, lake=lake, out=out, **AS_IN_A_RUN)


def measure(
    bench: Bench, reviews: int, users: int, memory: str, fixed: Measurement, with_landing: bool, keep: bool
) -> list[Cost]:
    """All stages on one dump; what was made for it is removed again unless it is to be kept."""
    costs = []
    if with_landing:
        files = bench.dump(reviews)
        with bench.scratch() as out:
            run = bench.measure(f"landing of {reviews:,}", "land", files=files, out=out)
            costs.append(Cost(LANDING, reviews, run.seconds, run.processor, run.peak, _bytes_in(Path(out))))
        if not keep:
            shutil.rmtree(Path(files[0]).parent)
    lake = bench.staged(reviews)
    with bench.scratch() as out:
        run = bench.measure(f"cleaning of {reviews:,}", "clean", memory=memory, lake=lake, out=out, **AS_IN_A_RUN)
        costs += _of_cleaning(run, reviews, fixed, _bytes_in(Path(out)))
        if not keep:
            shutil.rmtree(lake)
        run = bench.measure(f"model of {reviews:,}", "learn", folder=f"{out}/training_set", users=users)
        costs += _of_model(run, reviews)
    return costs


def _of_cleaning(run: Measurement, reviews: int, fixed: Measurement, disk: int) -> list[Cost]:
    """Cleaning without its fixed cost, which would hide how small dumps grow, and the arrays."""
    seconds = (run.seconds - run.phases[ARRAYS]) - (fixed.seconds - fixed.phases[ARRAYS])
    processor = (run.processor - run.processor_of[ARRAYS]) - (fixed.processor - fixed.processor_of[ARRAYS])
    return [
        Cost(CLEANING, reviews, seconds, processor, run.peak, disk),
        Cost(ARRAYS, reviews, run.phases[ARRAYS], run.processor_of[ARRAYS], run.peak),
    ]


def _of_model(run: Measurement, reviews: int) -> list[Cost]:
    found = run.found
    of_users, of_cases = found["users"] / found["learned_users"], found["test_cases"] / found["ranked_users"]
    of_sample = min(found["test_cases"], TEST_USERS) / found["ranked_users"]
    # stage, the phase that was measured, and how many times as many users it stands for
    stages = [
        (CODES, CODES, 1.0),
        (EPOCH, EPOCH, of_users),
        (QUANTISED_EPOCH, QUANTISED_EPOCH, of_users),
        (RANKING, RANKING, of_cases),
        (RANKING_OF_SAMPLE, RANKING, of_sample),
        (QUANTISED_RANKING, QUANTISED_RANKING, of_cases),
        (EVALUATION, EVALUATION, of_cases),
    ]
    return [
        Cost(stage, reviews, run.phases[phase] * more, run.processor_of[phase] * more, run.peak)
        for stage, phase, more in stages
    ]


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


# ---- the law


@dataclass(frozen=True)
class Law:
    """``scale * reviews ** exponent``, fitted to the logarithms.

    Attributes:
        exponent: how the cost grows.
        low: lower end of its 95 % interval; minus infinity with two points.
        high: upper end.
        predicted: at the number of reviews that was asked for.
        predicted_low: lower end of the 95 % interval of one new measurement there.
        predicted_high: upper end.
    """

    exponent: float
    low: float
    high: float
    predicted: float
    predicted_low: float
    predicted_high: float


def fit(reviews: Sequence[float], values: Sequence[float], at: float) -> Law:
    """The law of some costs, at least two of different sizes.

    Raises:
        ValueError: fewer than two sizes, or a cost that is not positive.
    """
    from scipy import stats

    if len(set(reviews)) < 2 or min(values) <= 0:
        raise ValueError(f"a law needs two sizes and positive costs, not {list(zip(reviews, values, strict=True))}")
    x, y = [math.log(size) for size in reviews], [math.log(value) for value in values]
    line = stats.linregress(x, y)
    place = math.log(at)
    centre = line.intercept + line.slope * place
    freedom = len(x) - 2
    if freedom < 1:
        return Law(line.slope, -math.inf, math.inf, math.exp(centre), 0.0, math.inf)
    wide = float(stats.t.ppf(0.975, freedom))
    left = sum((b - line.intercept - line.slope * a) ** 2 for a, b in zip(x, y, strict=True))
    mean = statistics.fmean(x)
    deviation = math.sqrt(left / freedom * (1 + 1 / len(x) + (place - mean) ** 2 / sum((a - mean) ** 2 for a in x)))
    return Law(
        line.slope,
        line.slope - wide * line.stderr,
        line.slope + wide * line.stderr,
        math.exp(centre),
        math.exp(centre - wide * deviation),
        _exp(centre + wide * deviation),
    )


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


# ---- tables


def measured_table(costs: list[Cost]) -> str:
    """One row a stage, one column a size: medians of the seconds of all cores, and of the clock; memory."""
    sizes = sorted({cost.reviews for cost in costs})
    lines = ["| | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for stage in STAGES:
        row = [[cost for cost in costs if cost.stage == stage and cost.reviews == size] for size in sizes]
        lines.append(f"| {stage} | {' | '.join(_cell(runs) if runs else 'not run' for runs in row)} |")
    return "\n".join(lines) + "\n"


def _cell(runs: list[Cost]) -> str:
    processor, clock = (statistics.median(getattr(run, name) for run in runs) for name in ("processor", "seconds"))
    return f"{_time(processor)} ({_time(clock)}), {max(run.peak for run in runs) / 1e9:.1f} GB"


def law_table(costs: list[Cost], at: int) -> str:
    """One row a stage: exponents, and the prediction."""
    lines = [
        f"| Stage | sizes | exponent of processor | of memory | hours of processor at {at / 1e6:,.0f} million | memory "
        "| n log n or less |",
        "|---" * 7 + "|",
    ]
    for stage in STAGES:
        those = [cost for cost in costs if cost.stage == stage]
        sizes = [cost.reviews for cost in those]
        if len(set(sizes)) < 2:
            lines.append(f"| {stage} | {len(set(sizes))} |" + " not fitted |" * 5)
            continue
        processor, memory = fit(sizes, [cost.processor for cost in those], at), fit(sizes, [c.peak for c in those], at)
        verdict = "no" if processor.low > N_LOG_N else "yes" if processor.high <= N_LOG_N else "not certain"
        lines.append(
            f"| {stage} | {len(set(sizes))} | {_exponent(processor)} | {_exponent(memory)} "
            f"| {_predicted(processor, 3600, 'h')} | {_predicted(memory, 1e9, 'GB')} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def _exponent(law: Law) -> str:
    return f"{law.exponent:.2f} ({law.low:.2f} to {law.high:.2f})"


def _predicted(law: Law, unit: float, name: str) -> str:
    """A prediction with its interval; of one that spans more than two orders of magnitude there is none."""
    low, value, high = (each / unit for each in (law.predicted_low, law.predicted, law.predicted_high))
    if high > 100 * low:
        return "not determined"
    return f"{value:,.3g} {name} ({low:,.3g} to {high:,.3g})"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, nargs="+", default=SIZES)
    parser.add_argument("--landing", type=int, nargs="*", help="sizes to land too; all without it")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "workspace" / "benchmarks", help="dumps go there")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "benchmarks" / "results" / "scaling.json")
    parser.add_argument("--read", type=Path, nargs="+", help="show what was measured before")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", default="6GB", help="limit of DuckDB's memory")
    parser.add_argument("--users", type=int, default=50_000, help="that the epoch is measured on; a tenth is ranked")
    parser.add_argument("--predict", type=int, default=AMAZON_2023)
    parser.add_argument("--keep", action="store_true", help="keep the dumps")
    given = parser.parse_args()
    if given.read:
        told = [json.loads(path.read_text()) for path in given.read]
        show([Cost(**cost) for each in told for cost in each["costs"]], given.predict)
        return
    bench = Bench(given.work.resolve(), given.cores, script=Path(__file__).resolve())
    bench.work.mkdir(parents=True, exist_ok=True)
    costs: list[Cost] = []
    fixed = fixed_cost(bench, given.memory)
    for reviews in sorted(given.reviews):
        with_landing = given.landing is None or reviews in given.landing
        costs += measure(bench, reviews, given.users, given.memory, fixed, with_landing, given.keep)
        # after each size: the largest take long
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"cores": given.cores, "costs": [asdict(cost) for cost in costs]}, indent=1))
    show(costs, given.predict)


def show(costs: list[Cost], at: int) -> None:
    print(measured_table(costs))
    print(law_table(costs, at))


if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        run_step(STEPS, sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
