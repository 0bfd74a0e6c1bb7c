"""Accuracy against goals beyond it, of recipes that are fitted with several seeds.

    python benchmarks/fronts.py --lake workspace/lake/<dataset> --out build/fronts --seeds 3 --exclude-seen \\
        --recipes mmr_of_sasrec_sampled_softmax gptrec_distilled gptrec_ppo

The report of a run compares what was fitted with one seed. This fits re-rankings, students and alignments with
several, on the training set of a dataset that was run before, and compares them as the report does: fronts,
hypervolumes whose intervals cover users and seeds, and what is gained at a loss of at most 5 % of nDCG@10, at a
trade-off that is chosen on the validation users. Test targets are read by the comparison alone.

What is fitted stays in ``<out>/seed-<n>/``: called again, it goes on from there; delete a folder to fit it again, as
after a change of its recipe. ``<out>`` then holds ``points.parquet``, ``trade_offs.json``, ``fronts.md``, and a picture
for each goal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ml.alignment.align import align
from ml.alignment.runtime import AlignmentExecution
from ml.alignment.summary import ALIGNMENT_FILE
from ml.beyond_accuracy.goals import first_goal
from ml.data.item_text import FILE, load_item_text
from ml.data.training_set import TrainingSet
from ml.evaluation.trade_offs.compare import compare_series
from ml.evaluation.trade_offs.files import save_trade_offs
from ml.evaluation.trade_offs.series import ListSeries
from ml.recommender import ALIGNMENT, MODEL, Recommender
from ml.recommenders.aligned import AlignedRecommender
from ml.recommenders.fit import Conditions, depends_on_seed, fit
from ml.recommenders.fused import load_part
from ml.recommenders.list_series import Fitted, RerankedLists, list_series
from ml.recommenders.registry import Registry, registry, title_of
from ml.reports.render.markdown import report as markdown
from ml.reports.render.plots.chart import chart
from ml.reports.words import beyond_accuracy as words
from ml.text.vectors import DESCRIPTION, load_text_vectors
from ml.training.runtime import DEFAULT_THREADS
from ml.training.sequential_recommender import SequentialRecommender


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    training_set = load_training_set(options.lake)
    by_seed = [
        series_of(seed, training_set, options.recipes, options.out / f"seed-{seed}", options)
        for seed in range(options.seeds)
    ]
    found = compare_series([_seeds(same) for same in zip(*by_seed, strict=True)], training_set)
    save_trade_offs(found, options.out)
    text = markdown.beyond_accuracy(found)
    (options.out / "fronts.md").write_text(text + "\n", encoding="utf-8")
    for goal in words.goals(found):
        drawing = chart(words.chart(found, goal), f"front-{goal.replace('_', '-')}")
        (options.out / f"{goal}.png").write_bytes(drawing.png())
    print(text)


def load_training_set(lake: Path) -> TrainingSet:
    """The training set of a dataset, with its item text and the vectors of it, where it has them."""
    folder = lake / "training_sets"
    training_set = TrainingSet.load(folder / "sequences")
    if (folder / "item_text" / FILE).exists():
        training_set = training_set.with_text(load_item_text(folder / "item_text", training_set.item_ids))
        if (folder / "text_vectors" / DESCRIPTION).exists():
            training_set = load_text_vectors(folder / "text_vectors", training_set)
    return training_set


def series_of(
    seed: int,
    training_set: TrainingSet,
    recipes: Sequence[str],
    folder: Path,
    options: argparse.Namespace,
) -> list[ListSeries]:
    """All series under one seed; what lies in the folder is not fitted again."""
    conditions = Conditions(seed, exclude_seen=options.exclude_seen, device=options.device, threads=options.threads)
    known = registry()
    fitted: dict[str, Recommender] = {}

    def load(name: str) -> Recommender:
        if name not in fitted:
            # fitted first and kept beside it, so that several series share them
            for part in known.built_on(name):
                load(part)
            folder.mkdir(parents=True, exist_ok=True)
            fitted[name] = _kept_or_fitted(name, folder / name, training_set, conditions, known, fitted)
        return fitted[name]

    sources = Fitted(training_set, known, load, title_of, exclude_seen=options.exclude_seen, seed=seed)
    return list_series(recipes, sources)


def _kept_or_fitted(
    name: str,
    folder: Path,
    training_set: TrainingSet,
    conditions: Conditions,
    known: Registry,
    fitted: dict[str, Recommender],
) -> Recommender:
    """A model or an alignment from its folder, which is filled where it is not there; anything else, fitted now."""
    kind = known.kind_of(name)
    if kind == MODEL and (folder / "config.json").exists():
        return load_part(name, folder)
    if kind == ALIGNMENT:
        if not (folder / ALIGNMENT_FILE).exists():
            recipe = known.alignments[name]
            student = fitted[recipe.student]
            assert isinstance(student, SequentialRecommender)  # a student is a model
            execution = AlignmentExecution(
                threads=conditions.threads or DEFAULT_THREADS,
                device=conditions.device,
                tell=lambda record: print(f"{recipe.title}: {record.in_words()}", file=sys.stderr, flush=True),
            )
            goal = first_goal(recipe.goals, training_set)
            # keeps checkpoints, as a model does
            align(recipe, student, training_set, goal, folder, conditions.seed, execution)
        return AlignedRecommender.load(folder)
    return fit(name, training_set, conditions, known, fitted, folder)


def _seeds(same: Sequence[ListSeries]) -> Sequence[ListSeries]:
    """A series under all seeds; under the first alone where no seed changes it."""
    first = same[0]
    return same[:1] if isinstance(first, RerankedLists) and not depends_on_seed(first.recipe.of) else same


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--lake", type=Path, required=True, help="folder of a dataset in the lake of a workspace")
    add("--out", type=Path, required=True, help="folder for what is fitted and for the results")
    add("--recipes", nargs="+", required=True, help="re-rankings, students of several trade-offs, alignments")
    add("--seeds", type=int, default=3, help="how many, from 0")
    add("--exclude-seen", action="store_true", help="leave the items of a user's own history out")
    add("--device", default="cpu")
    add("--threads", type=int, default=None)
    return parser


if __name__ == "__main__":
    main()
