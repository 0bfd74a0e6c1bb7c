"""The model card of a bundle: ``bundle.json`` for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TIMES = """
This model reads when the items of a history were interacted with: pass `times`, one list of seconds since 1970 a
history, as long as the history.
"""
_USERS = """
The model has vectors of the users that it was trained on. A bundle knows histories alone, so every user is answered
as one that is not known.
"""


def model_card(about: Mapping[str, Any]) -> str:
    """The card, in Markdown.

    Args:
        about: the content of ``bundle.json``.
    """
    described = about["described"]
    parts = [name for name in about["recommenders"] if name != about["name"]]
    made_of = f", made of {', '.join(parts)}" if parts else ""
    facts = {
        "Recommender": f"{about['title']} (`{about['name']}`, {about['kind'].replace('_', ' ')}{made_of})",
        "Dataset": about["dataset"],
        "Catalogue": f"{about['items']:,} items",
        "Fitted on": _fitted_on(about["fitted_on"]),
        "Items of the history": "left out of lists" if about["exclude_seen"] else "may be recommended again",
    }
    sections = [
        f"# {about['title']}, {about['dataset']}\n",
        "A recommender released by raw2rank. It takes histories of item ids and gives item ids.\n",
        _table("", "", facts),
        "## Use\n",
        _usage(about),
        "## Protocol\n",
        "Splits and cleaning of the data that it was fitted on.\n",
        _table("Setting", "Value", about["protocol"]),
    ]
    metrics = described.get("metrics")
    if isinstance(metrics, Mapping) and metrics:
        sections += ["## Measured\n", _measured(about["fitted_on"]), _table("Metric", "Value", metrics)]
    others = {key: value for key, value in described.items() if key not in ("metrics", "exclude_seen", "fitted_on")}
    if others:
        sections += ["## Also known\n", _table("", "", others)]
    sections += [
        "## Digests\n",
        "SHA-256. `bundle.json` holds that of each file; all are checked when the bundle is loaded.\n",
        _table("Of", "Digest", about["digests"]),
        "## Licence\n",
        "The code is under the Apache License 2.0. Weights, item ids and titles are derived from the dataset, whose "
        "terms apply to them and are not part of this card: look them up before you pass the folder on.\n",
    ]
    return "\n".join(sections)


def _fitted_on(fitted_on: str) -> str:
    if fitted_on == "everything":
        return "all interactions, test items included: no metric can be measured on this fit"
    return {"train": "the training items", "train+validation": "the training and validation items"}.get(
        fitted_on, fitted_on
    )


def _measured(fitted_on: str) -> str:
    if fitted_on == "everything":
        return "Measured on the fit that did not see the test items, from which this one has its number of epochs.\n"
    return "On the test users of the dataset, over the whole catalogue.\n"


def _usage(about: Mapping[str, Any]) -> str:
    times = ", times=[[1700000000]]" if about["reads_times"] else ""
    example = (
        "```python\n"
        "import raw2rank\n\n"
        'bundle = raw2rank.load("FOLDER")\n'
        f'bundle.recommend([["AN_ITEM_ID"]], k=10{times}).items\n'
        'bundle.similar_items("AN_ITEM_ID", k=10)\n'
        "```\n\n"
        "Ids that the catalogue does not hold are skipped and counted. A history without any known item is answered "
        "with the most popular items.\n"
    )
    return example + (_TIMES if about["reads_times"] else "") + (_USERS if about["knows_users"] else "")


def _table(left: str, right: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join([f"| {left} | {right} |", "| --- | --- |", *lines, ""])


def _cell(value: Any) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
