"""What the answers of language models were worth, read from what the rankings left."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ml.data.files import read_json, whole
from ml.recommenders.answer_facts import facts_of_json
from ml.reports.content.answers import Answers


def answers(lake: Path, leaderboard: pa.Table) -> tuple[Answers, ...]:
    """One entry for each re-ranking of the leaderboard by a language model, in its order.

    Args:
        lake: the dataset's folder in the lake.
        leaderboard: the table of its asset.

    Raises:
        DamagedFile: what a ranking left is not whole.
    """
    titles = {record["recommender"]: record["title"] for record in leaderboard.to_pylist()}
    found = []
    for name, title in titles.items():
        path = lake / "rankings" / f"{name}.answers.json"
        if path.exists():
            values = read_json(path.parent, path.name)
            with whole(path):
                facts = facts_of_json(values)
            found.append(Answers(title, titles.get(facts.of, facts.of), facts))
    return tuple(found)
