"""Baselines that read the whole history beside the same methods of RecTools and implicit, on the same arrays.

    python benchmarks/neighbours.py --sequences LAKE/training_sets/sequences --peers FOLDER [--json FILE]

Reported are nDCG@10 on the test users over the whole catalogue less the items of the history, and the seconds that
fitting took. Ours and theirs have the same constants:

- *ease*: ``rectools.models.EASEModel`` with the same regularisation;
- *item_knn*: ``implicit.nearest_neighbours.CosineRecommender`` with as many neighbours; it has no shrinkage, so that
  ours is 0 here too;
- *als*: ``implicit.cpu.als.AlternatingLeastSquares``, which solves for the vectors of the histories itself.

The peers fit; the lists are made here from their weights, similarities or vectors, and one function measures both
sides. Histories hold an item once on either side. The peers run in an environment of their own, a process each
(``requirements_rectools.txt``; RecTools brings implicit), made in ``--peers`` where it is not there yet. The baseline
``als`` is left out where the extra is not installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

REQUIREMENTS = Path(__file__).resolve().parent / "requirements_rectools.txt"
K = 10


def main() -> None:
    arguments = _arguments()
    if arguments.peer:
        return fit_peer(arguments.peer, Path(arguments.sequences))
    sys.path.insert(0, str(REQUIREMENTS.parents[1]))
    rows = compare(Path(arguments.sequences), Path(arguments.peers))
    print("| recommender | nDCG@10 | of the peer | difference | seconds of fitting | of the peer |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        difference = 100 * (row["ndcg"] / row["peer_ndcg"] - 1)
        print(
            f"| `{row['name']}` | {row['ndcg']:.4f} | {row['peer_ndcg']:.4f} | {difference:+.1f} % "
            f"| {row['seconds']:.1f} | {row['peer_seconds']:.1f} |"
        )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2) + "\n")


def compare(sequences: Path, peers: Path) -> list[dict]:
    """Quality and time of each baseline and of its peer."""
    from ml.baselines.ease import Ease
    from ml.baselines.item_matrix import history_matrix, user_item_matrix
    from ml.baselines.nearest_neighbours import ItemNearestNeighbours
    from ml.data.training_set import TrainingSet
    from ml.extras import missing

    training_set = TrainingSet.load(sequences)
    histories = training_set.histories("test")
    asked = history_matrix(histories, training_set.items)
    item_knn = ItemNearestNeighbours()
    item_knn.shrinkage = 0.0
    ours = {"ease": Ease(), "item_knn": item_knn}
    options = {"ease": {"regularization": Ease.regularisation}, "item_knn": {"K": item_knn.neighbours}}
    if not missing("als"):
        from ml.baselines import als

        ours["als"] = als.AlternatingLeastSquares(seed=0)
        options["als"] = {
            "factors": als.FACTORS,
            "regularization": als.REGULARISATION,
            "alpha": als.CONFIDENCE,
            "iterations": als.ITERATIONS,
            "random_state": 0,
        }
    python = _environment(peers)
    rows = []
    for name, recommender in ours.items():
        start = time.perf_counter()
        recommender.fit(training_set)
        seconds = time.perf_counter() - start
        found = recommender.recommend(histories, K, exclude_seen=True).items
        with tempfile.TemporaryDirectory() as folder:
            sparse.save_npz(Path(folder) / "train.npz", user_item_matrix(training_set).astype(np.float32))
            sparse.save_npz(Path(folder) / "asked.npz", asked.astype(np.float32))
            (Path(folder) / "options.json").write_text(json.dumps(options[name]))
            subprocess.run([python, __file__, "--peer", name, "--sequences", folder], check=True)
            theirs = np.load(Path(folder) / "items.npy", allow_pickle=False)
            peer_seconds = json.loads((Path(folder) / "seconds.json").read_text())
        rows.append(
            {
                "name": name,
                "ndcg": ndcg(found, training_set.test_targets),
                "peer_ndcg": ndcg(theirs, training_set.test_targets),
                "seconds": seconds,
                "peer_seconds": peer_seconds,
            }
        )
    return rows


def ndcg(items: np.ndarray, targets: np.ndarray) -> float:
    """Mean nDCG of lists, ``[users, k]``, with one target for each user."""
    _row, place = np.nonzero(items == targets[:, None])
    return float((1 / np.log2(place + 2)).sum() / len(items))


def fit_peer(name: str, folder: Path) -> None:
    """In the environment of the peers: fit one on ``train.npz`` and write its lists for ``asked.npz``."""
    train, asked = (sparse.load_npz(folder / f"{each}.npz").tocsr() for each in ("train", "asked"))
    options = json.loads((folder / "options.json").read_text())
    if name == "ease":
        seconds, scores = _rectools_ease(train, asked, options)
    else:
        seconds, scores = _implicit(name, train, asked, options)
    scores[asked.nonzero()] = -np.inf
    np.save(folder / "items.npy", np.argsort(-scores, axis=1, kind="stable")[:, :K], allow_pickle=False)
    (folder / "seconds.json").write_text(json.dumps(seconds))


def _rectools_ease(train: sparse.csr_matrix, asked: sparse.csr_matrix, options: dict) -> tuple[float, np.ndarray]:
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import EASEModel

    users, items = train.nonzero()
    table = pd.DataFrame({Columns.User: users, Columns.Item: items, Columns.Weight: 1.0})
    table[Columns.Datetime] = pd.Timestamp("2020-01-01")
    dataset = Dataset.construct(table)
    model = EASEModel(**options)
    start = time.perf_counter()
    model.fit(dataset)
    seconds = time.perf_counter() - start
    # RecTools numbers items in the order in which it meets them
    known = dataset.item_id_map.external_ids.astype(np.int64)
    scores = np.zeros(asked.shape, dtype=np.float32)
    scores[:, known] = asked[:, known] @ np.asarray(model.weight)
    return seconds, scores


def _implicit(name: str, train: sparse.csr_matrix, asked: sparse.csr_matrix, options: dict) -> tuple[float, np.ndarray]:
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import CosineRecommender

    model = AlternatingLeastSquares(**options) if name == "als" else CosineRecommender(**options)
    start = time.perf_counter()
    model.fit(train, show_progress=False)
    seconds = time.perf_counter() - start
    if name == "als":
        return seconds, model.recalculate_user(np.arange(asked.shape[0]), asked) @ model.item_factors.T
    similar = model.similarity.tocsr()
    return seconds, (asked @ similar.T).toarray()


def _environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
    return python


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", required=True, help="folder training_sets/sequences of a dataset")
    parser.add_argument("--peers", default="peers", help="folder of the environment of the peers")
    parser.add_argument("--json", default="", help="file for everything measured")
    parser.add_argument("--peer", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
