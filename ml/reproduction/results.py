"""Results of the fits of a claim, and whether they reproduce it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ml.data.versions import versioned_folder
from ml.evaluation.intervals import Interval, bootstrap_interval
from ml.evaluation.significance import SeedValues, compare_with_reference
from ml.number_format import interval as interval_text
from ml.number_format import p_value, signed_metric
from ml.reproduction.claims import Claim

REACHED, MISSED, REPORTED, NOT_RUN = "reached", "not reached", "reported", "not run"


@dataclass(frozen=True)
class Result:
    """One recommender, fitted with one seed, measured on the test users.

    Attributes:
        key: digest of all that decides the values; another key is another result.
        recommender: its name.
        seed: it was fitted with.
        seconds: of fitting; of a fusion, of choosing its weights.
        machine: what it ran on, in words.
        values: the claim's metric of each test user, float64 ``[users]``.
    """

    key: str
    recommender: str
    seed: int
    seconds: float
    machine: str
    values: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    def save(self, folder: Path) -> None:
        """Write ``values.npy`` and ``result.json``, whole or not at all."""
        described = {name: value for name, value in vars(self).items() if name != "values"}
        with versioned_folder(folder) as working:
            np.save(working / "values.npy", self.values, allow_pickle=False)
            (working / "result.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Result | None:
        """Read what :meth:`save` wrote; ``None`` if there is nothing."""
        if not (folder / "result.json").exists():
            return None
        described = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        return cls(**described, values=np.load(folder / "values.npy", allow_pickle=False))


@dataclass(frozen=True)
class Verdict:
    """All fits of a claim together.

    Attributes:
        claim: what was claimed.
        finding: ``reached``, ``not reached``, ``reported`` (nothing is asked of it) or ``not run``.
        sentence: the finding with its reason.
        means: one a seed.
        interval: 95 %, over users, of the mean over seeds; ``None`` where nothing was run.
        seconds: median over the seeds.
        machine: what the fits ran on.
    """

    claim: Claim
    finding: str
    sentence: str
    means: tuple[float, ...] = ()
    interval: Interval | None = None
    seconds: float = 0.0
    machine: str = ""

    def as_json(self) -> dict:
        return asdict(self)


def judge(claim: Claim, results: list[Result], others: dict[str, list[Result]]) -> Verdict:
    """Whether the mean over seeds lies between the bounds of the claim, and above the recommenders it names.

    Args:
        claim: what was claimed.
        results: of its recommender, one a seed.
        others: of each recommender of ``claim.above``, compared by :func:`ml.evaluation.significance.paired_test` over
            users and seeds; better is a difference above zero with a p-value below .05, corrected by Holm's method.
    """
    missing = claim.seeds - len(results)
    if not results:
        return Verdict(claim, NOT_RUN, "needs a GPU" if claim.device == "cuda" else "not run")
    values = np.mean([result.values for result in results], axis=0)
    interval = bootstrap_interval(values, seed=0)
    mean = interval.mean
    problems = [f"{missing} of {claim.seeds} seeds not run"] if missing > 0 else []
    if claim.lowest is not None and mean < claim.lowest:
        problems.append(f"{claim.lowest - mean:.4f} below {claim.lowest:.4f}")
    if claim.highest is not None and mean > claim.highest:
        problems.append(f"{mean - claim.highest:.4f} above {claim.highest:.4f}")
    problems += [f"{name} not run" for name in claim.above if not others.get(name)]
    fitted = {name: _by_seed(others[name]) for name in claim.above if others.get(name)}
    tests = compare_with_reference({**fitted, claim.recommender: _by_seed(results)}, claim.recommender)
    better: list[str] = []
    for name, test in tests.items():
        # the test is of the other against ours
        low, high = -test.difference.high, -test.difference.low
        said = (
            f"{signed_metric(-test.difference.mean)} ({interval_text(low, high, signed=True)}, "
            f"{p_value(test.p_value_adjusted)}) against {name}"
        )
        (better if test.is_significant and low > 0 else problems).append(said)
    asked = claim.lowest is not None or claim.highest is not None or bool(claim.above)
    finding = MISSED if problems else REACHED if asked else REPORTED
    return Verdict(
        claim=claim,
        finding=finding,
        sentence="; ".join([finding, *problems, *better]),
        means=tuple(result.mean for result in results),
        interval=interval,
        seconds=float(np.median([result.seconds for result in results])),
        machine="; ".join(dict.fromkeys(result.machine for result in results)),
    )


def _by_seed(results: list[Result]) -> SeedValues:
    ordered = sorted(results, key=lambda result: result.seed)
    return SeedValues(np.stack([one.values for one in ordered]), tuple(one.seed for one in ordered))
