"""The training set as a folder that ``datasets.load_dataset`` reads, for fine-tuning language models.

Users become text: an instruction, the items of the history one line each, ``### Next item:`` and the item that
came next. The layout is that of the published sets for recommendation by language models:

- ``train``: ``reviewer_id``, ``text``; one row for each user with at least two training items. ``text`` ends with
  the user's last training item, after the ones before it.
- ``validation`` and ``test``: ``reviewer_id``, ``ptext`` (everything up to and with ``### Next item:`` and its line
  end), ``text`` (``ptext`` and the held-out item's text), ``seen_asins`` (the whole history, oldest first),
  ``asin`` and ``asin_text`` (the held-out item).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.training_set import TrainingSet

INSTRUCTION = "Below are items that a customer bought, oldest first. Write the item that the customer buys next."
NEXT_ITEM = "### Next item:\n"
TRAIN_SCHEMA = pa.schema([("reviewer_id", pa.string()), ("text", pa.string())])
EVALUATION_SCHEMA = pa.schema(
    [
        ("reviewer_id", pa.string()),
        ("ptext", pa.string()),
        ("text", pa.string()),
        ("seen_asins", pa.list_(pa.string())),
        ("asin", pa.string()),
        ("asin_text", pa.string()),
    ]
)
_SCHEMAS = {"train": TRAIN_SCHEMA, "validation": EVALUATION_SCHEMA, "test": EVALUATION_SCHEMA}
_BATCH_ROWS = 1000


@dataclass(frozen=True)
class Split:
    """Statistics of one written split: rows, their size in memory and the size of the file, in bytes."""

    rows: int
    memory: int
    file: int


def export(training_set: TrainingSet, folder: Path, history_limit: int = 50) -> dict[str, Split]:
    """Write ``data/<split>-00000-of-00001.parquet`` and the dataset card ``README.md`` into a folder.

    Rows are in the order of the users, and equal input gives equal bytes. Memory holds the catalogue's text
    and 1,000 rows. A split without rows has no file and is not in the card: ``datasets`` reads no empty split.

    Args:
        training_set: with item text.
        folder: made when absent; for all or nothing, give the one of ``ml.data.versions.versioned_folder``.
        history_limit: how many of the latest items of a history are written out as text.

    Returns:
        What was written, by name of the split, in the order train, validation, test.

    Raises:
        ValueError: the training set has no item text, a text is not one line, or the limit is below 1.
    """
    if training_set.item_text is None:
        raise ValueError(f"the training set of {training_set.dataset} has no item text; add it by with_text()")
    if history_limit < 1:
        raise ValueError(f"history_limit is {history_limit}; a prompt needs at least one item")
    for item_id, text in zip(training_set.item_ids, training_set.item_text, strict=True):
        if "\n" in text:
            raise ValueError(f"the text of item {item_id.decode()} of {training_set.dataset} is not one line")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    batches = {
        "train": _train_batches(training_set, training_set.item_text, history_limit),
        "validation": _evaluation_batches(training_set, training_set.item_text, "validation", history_limit),
        "test": _evaluation_batches(training_set, training_set.item_text, "test", history_limit),
    }
    written = {}
    for split, of_split in batches.items():
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        if of_this := _write(path, _SCHEMAS[split], of_split):
            written[split] = of_this
    too_short = training_set.users - (written["train"].rows if "train" in written else 0)
    card = _card(training_set, written, history_limit, too_short)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return written


def prompt(history: list[str]) -> str:
    """The prompt: the instruction, the texts of a history (oldest first) and ``### Next item:``."""
    lines = "".join(f"- {text}\n" for text in history)
    return f"### Instruction:\n{INSTRUCTION}\n\n### History:\n{lines}\n{NEXT_ITEM}"


def _train_batches(training_set: TrainingSet, texts: Sequence[str], history_limit: int) -> Iterator[pa.RecordBatch]:
    users = np.flatnonzero(training_set.train.lengths >= 2)
    for start in range(0, len(users), _BATCH_ROWS):
        chosen = users[start : start + _BATCH_ROWS]
        rows = []
        for user in chosen.tolist():
            *history, target = training_set.train[user][-history_limit - 1 :].tolist()
            rows.append(prompt([texts[item] for item in history]) + texts[target])
        yield pa.record_batch([_decoded(training_set.user_ids[chosen]), pa.array(rows, pa.string())], TRAIN_SCHEMA)


def _evaluation_batches(
    training_set: TrainingSet, texts: Sequence[str], split: str, history_limit: int
) -> Iterator[pa.RecordBatch]:
    users, targets = training_set.users_of(split), training_set.targets_of(split)
    histories = training_set.histories(split)
    for start in range(0, len(users), _BATCH_ROWS):
        rows = range(start, min(start + _BATCH_ROWS, len(users)))
        of_rows = histories.take(np.arange(rows.start, rows.stop))
        prompts = [
            prompt([texts[item] for item in history[-history_limit:].tolist()])
            for history in (of_rows[row] for row in range(len(of_rows)))
        ]
        target = targets[rows.start : rows.stop]
        target_texts = [texts[item] for item in target.tolist()]
        seen = pa.ListArray.from_arrays(
            pa.array(of_rows.offsets, pa.int32()), _decoded(training_set.item_ids[of_rows.items])
        )
        yield pa.record_batch(
            [
                _decoded(training_set.user_ids[users[rows.start : rows.stop]]),
                pa.array(prompts, pa.string()),
                pa.array([given + text for given, text in zip(prompts, target_texts, strict=True)], pa.string()),
                seen.cast(EVALUATION_SCHEMA.field("seen_asins").type),
                _decoded(training_set.item_ids[target]),
                pa.array(target_texts, pa.string()),
            ],
            EVALUATION_SCHEMA,
        )


def _decoded(identities: np.ndarray) -> pa.Array:
    return pa.array([identity.decode() for identity in identities.tolist()], pa.string())


def _write(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Split | None:
    """Write batches as they come, a row group each; ``None``, and no file, where there are none."""
    rows = memory = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
            memory += batch.nbytes
    if not rows:
        path.unlink()
        return None
    return Split(rows, memory, path.stat().st_size)


_CARD = """---
{header}---

# {dataset}

Purchase histories as text, to fine-tune language models on the task of naming the next item; made by raw2rank.

| split | rows |
|---|---|
{counts}

- `train`: `reviewer_id`, `text`. One row for each user with at least two training items; `text` is the
  instruction, the training history and, after `### Next item:`, the last training item. {too_short} of {users} users
  have fewer than two training items and are left out: there is nothing to predict their item from.
- `validation` and `test`: `reviewer_id`, `ptext`, `text`, `seen_asins`, `asin`, `asin_text`. `ptext` is what a
  model is given: the same with everything up to `### Next item:` and its line end. `text` is `ptext` followed by
  `asin_text`, the text of the held-out item `asin`. `seen_asins` is the whole history, oldest first. The history of
  a test row ends with the user's validation item, where there is one.

An item is written as `Title: … Brand: … Category: … Price: …`, with “Unknown” for what is not known. **Of a history
the {limit} most recent items are written out**, oldest first; `seen_asins` holds them all.

```python
from datasets import load_dataset

load_dataset("path/of/this/folder")                # all splits; columns that train does not have are None in it
load_dataset("path/of/this/folder", "training")    # train alone, with its two columns
load_dataset("path/of/this/folder", "evaluation")  # validation and test
```

How the split was made: {protocol}.

The rights in the reviews are those of the dump they come from.
"""


def _card(training_set: TrainingSet, written: dict[str, Split], history_limit: int, too_short: int) -> str:
    counts = "\n".join(f"| {split} | {of_split.rows:,} |" for split, of_split in written.items())
    protocol = ", ".join(f"{name} = {value}" for name, value in sorted(training_set.protocol.items()))
    return _CARD.format(
        header=_header(training_set.dataset, written),
        dataset=training_set.dataset,
        counts=counts,
        too_short=f"{too_short:,}",
        users=f"{training_set.users:,}",
        limit=history_limit,
        protocol=protocol or "not recorded",
    )


def _header(dataset: str, written: dict[str, Split]) -> str:
    """The part of the card that ``datasets`` reads: which files, columns and counts each configuration has."""
    import yaml

    configurations = {"default": tuple(_SCHEMAS), "training": ("train",), "evaluation": ("validation", "test")}
    configs, infos = [], []
    for name, splits in configurations.items():
        present = [split for split in splits if split in written]
        if not present:
            continue
        files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in present]
        configs.append({"config_name": name, **({"default": True} if name == "default" else {}), "data_files": files})
        # the columns of a configuration are those of its widest split; the others are filled with nulls
        schema = TRAIN_SCHEMA if present == ["train"] else EVALUATION_SCHEMA
        infos.append(
            {
                "config_name": name,
                "features": [_feature(field) for field in schema],
                "splits": [
                    {"name": split, "num_bytes": written[split].memory, "num_examples": written[split].rows}
                    for split in present
                ],
                "download_size": sum(written[split].file for split in present),
                "dataset_size": sum(written[split].memory for split in present),
            }
        )
    header = {
        "pretty_name": dataset,
        "task_categories": ["text-generation"],
        "tags": ["recommendation", "sequential-recommendation"],
        "configs": configs,
        "dataset_info": infos,
    }
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000)


def _feature(field: pa.Field) -> dict[str, str]:
    return {"name": field.name, "list" if pa.types.is_list(field.type) else "dtype": "string"}
