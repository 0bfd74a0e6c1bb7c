"""How often the test over users and seeds calls chance significant: ``python benchmarks/significance.py``.

Draws the values of a recommender that is no better than its reference many times, from users, seeds, and both together,
and counts how often :func:`ml.evaluation.significance.paired_test` finds a difference at 5 %. Beside it the same for a
test over users alone, of the means over the seeds. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SEEDS = (1, 2, 3, 5)
RATIOS = (0.0, 0.5, 1.0, 2.0, 5.0)
# of differences in nDCG@10: users, and what is left of a user under one seed alone
OF_USERS, OF_BOTH = 0.1, 0.05


def rate(draws: int, users: int, seeds: int, ratio: float) -> tuple[float, float]:
    """Shares of the draws that are called significant: by users and seeds, and by users alone."""
    import numpy as np

    from ml.evaluation.significance import LEVEL, SeedValues, paired_t_tests, paired_test

    random = np.random.default_rng(0)
    between = ratio * np.sqrt((OF_USERS**2 + OF_BOTH**2 / seeds) / users)
    nothing = np.zeros(users)
    found = np.zeros(2)
    for _ in range(draws):
        of_user = random.normal(0, OF_USERS, users)
        by_seed = of_user + random.normal(0, between, (seeds, 1)) + random.normal(0, OF_BOTH, (seeds, users))
        values = SeedValues(by_seed, tuple(range(seeds)))
        found[0] += paired_test(values, SeedValues.of_one_seed(nothing)).p_value < LEVEL
        found[1] += paired_t_tests(values.mean_by_user[None], nothing).p_value[0] < LEVEL
    return tuple((found / draws).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=1_000)
    chosen = parser.parse_args()
    print(f"| seeds | {' | '.join(f'ratio {ratio:g}' for ratio in RATIOS)} | users alone, ratio 1 |")
    print(f"|{' ---: |' * (len(RATIOS) + 2)}")
    for seeds in SEEDS:
        rates = [rate(chosen.draws, chosen.users, seeds, ratio) for ratio in RATIOS]
        cells = [f"{both:.1%}".replace("%", " %") for both, _ in rates]
        cells.append(f"{rates[RATIOS.index(1.0)][1]:.1%}".replace("%", " %"))
        print(f"| {seeds} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
