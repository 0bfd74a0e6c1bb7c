"""The export that language models are fine-tuned on, read back by ``datasets`` itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from ml.data import hugging_face
from ml.data.hugging_face import export
from ml.data.item_text import item_texts, load_item_text, save_item_text
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

ITEMS = 6
TEXTS = tuple(f"Title: lorry {n} Brand: Ada Category: Unknown Price: $1.0{n}" for n in range(ITEMS))


def made_up(train: list[list[int]], validation: dict[int, int], test: dict[int, int]) -> TrainingSet:
    return TrainingSet(
        dataset="Toys",
        item_ids=np.array([f"B{n}".encode() for n in range(ITEMS)]),
        user_ids=np.array([f"user {n:05}".encode() for n in range(len(train))]),
        train=Sequences.from_lists(train),
        validation_users=np.array(list(validation), dtype=np.int32),
        validation_targets=np.array(list(validation.values()), dtype=np.int32),
        test_users=np.array(list(test), dtype=np.int32),
        test_targets=np.array(list(test.values()), dtype=np.int32),
        protocol={"tie_order": "hash", "k_core": 5},
        item_text=TEXTS,
    )


@pytest.fixture
def training_set() -> TrainingSet:
    return made_up([[0, 1, 2], [3], [4, 0, 4, 5, 1], [2, 3]], {0: 3, 2: 2}, {0: 4, 2: 0, 3: 5})


def load(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(cache))
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(str(folder), *arguments, cache_dir=str(cache))


def test_datasets_loads_every_split(training_set: TrainingSet, tmp_path: Path, monkeypatch):
    export(training_set, tmp_path / "export")
    loaded = load(tmp_path / "export", tmp_path / "cache", monkeypatch)
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "validation": 2, "test": 3}

    # user 1 has one training item and nothing to predict it from
    assert loaded["train"]["reviewer_id"][:] == ["user 00000", "user 00002", "user 00003"]
    assert loaded["train"][0]["text"] == (
        "### Instruction:\n"
        "Below are items that a customer bought, oldest first. Write the item that the customer buys next.\n"
        "\n"
        "### History:\n"
        f"- {TEXTS[0]}\n"
        f"- {TEXTS[1]}\n"
        "\n"
        "### Next item:\n"
        f"{TEXTS[2]}"
    )
    row = loaded["validation"][0]
    assert row["reviewer_id"] == "user 00000"
    assert row["seen_asins"] == ["B0", "B1", "B2"]
    assert (row["asin"], row["asin_text"]) == ("B3", TEXTS[3])
    assert f"- {TEXTS[0]}\n- {TEXTS[1]}\n- {TEXTS[2]}\n\n### Next item:\n" in row["ptext"]
    # the history of a test case ends with the validation item
    row = loaded["test"][0]
    assert row["seen_asins"] == ["B0", "B1", "B2", "B3"]
    assert (row["asin"], row["asin_text"]) == ("B4", TEXTS[4])
    for split in ("validation", "test"):
        histories = training_set.histories(split)
        for number, row in enumerate(loaded[split]):
            assert row["ptext"].endswith("### Next item:\n")
            assert row["text"] == row["ptext"] + row["asin_text"]
            assert row["seen_asins"] == [f"B{item}" for item in histories[number]]
            shown = [line[2:] for line in row["ptext"].splitlines() if line.startswith("- ")]
            assert shown == [TEXTS[item] for item in histories[number]]
            assert row["asin_text"] == TEXTS[training_set.targets_of(split)[number]]


def test_configurations_have_the_columns_of_their_splits(training_set: TrainingSet, tmp_path: Path, monkeypatch):
    export(training_set, tmp_path / "export")
    training = load(tmp_path / "export", tmp_path / "cache", monkeypatch, "training")
    assert {split: rows.column_names for split, rows in training.items()} == {"train": ["reviewer_id", "text"]}
    evaluation = load(tmp_path / "export", tmp_path / "cache", monkeypatch, "evaluation")
    columns = ["reviewer_id", "ptext", "text", "seen_asins", "asin", "asin_text"]
    assert {split: rows.column_names for split, rows in evaluation.items()} == {
        "validation": columns,
        "test": columns,
    }
    assert pq.read_schema(tmp_path / "export" / "data" / "train-00000-of-00001.parquet").names == [
        "reviewer_id",
        "text",
    ]


def test_a_split_without_rows_is_left_out(tmp_path: Path, monkeypatch):
    written = export(made_up([[0, 1, 2], [3, 4]], {}, {0: 4}), tmp_path / "export")
    assert list(written) == ["train", "test"]
    assert sorted(path.name for path in (tmp_path / "export" / "data").iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ]
    assert set(load(tmp_path / "export", tmp_path / "cache", monkeypatch)) == {"train", "test"}
    assert set(load(tmp_path / "export", tmp_path / "cache", monkeypatch, "evaluation")) == {"test"}


def test_the_latest_items_of_a_long_history_are_written_out(training_set: TrainingSet, tmp_path: Path):
    export(training_set, tmp_path, history_limit=2)
    test = pq.read_table(tmp_path / "data" / "test-00000-of-00001.parquet").to_pylist()
    assert test[1]["seen_asins"] == ["B4", "B0", "B4", "B5", "B1", "B2"]
    assert [line[2:] for line in test[1]["ptext"].splitlines() if line.startswith("- ")] == [TEXTS[1], TEXTS[2]]
    train = pq.read_table(tmp_path / "data" / "train-00000-of-00001.parquet").to_pylist()
    assert [line[2:] for line in train[1]["text"].splitlines() if line.startswith("- ")] == [TEXTS[4], TEXTS[5]]
    assert train[1]["text"].endswith(TEXTS[1])
    assert "the 2 most recent items are written out" in (tmp_path / "README.md").read_text()


def test_the_card_counts_what_the_files_hold(training_set: TrainingSet, tmp_path: Path):
    written = export(training_set, tmp_path)
    text = (tmp_path / "README.md").read_text()
    _, header, card = text.split("---\n", 2)
    header = yaml.safe_load(header)
    rows = {
        split: pq.read_metadata(tmp_path / "data" / f"{split}-00000-of-00001.parquet").num_rows for split in written
    }
    assert [config["config_name"] for config in header["configs"]] == ["default", "training", "evaluation"]
    for info in header["dataset_info"]:
        assert {split["name"]: split["num_examples"] for split in info["splits"]} == {
            split: rows[split] for split in [entry["name"] for entry in info["splits"]]
        }
        assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])
    assert header["dataset_info"][0]["download_size"] == sum(
        path.stat().st_size for path in (tmp_path / "data").iterdir()
    )
    assert {split: entry.rows for split, entry in written.items()} == rows == {"train": 3, "validation": 2, "test": 3}
    assert "the 50 most recent items are written out" in card
    assert "1 of 4 users" in card
    assert "k_core = 5, tie_order = hash" in card


def test_equal_input_gives_equal_bytes_whatever_was_there_before(training_set: TrainingSet, tmp_path: Path):
    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    export(training_set, tmp_path / "one")
    export(made_up([[1, 1, 1]], {}, {0: 2}), tmp_path / "two")
    export(training_set, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    export(made_up([[1, 1, 1]], {}, {0: 2}), tmp_path / "one")
    assert "validation" not in " ".join(content(tmp_path / "one"))


def test_rows_are_the_same_however_they_are_batched(tmp_path: Path, monkeypatch):
    random = np.random.default_rng(0)
    train = [random.integers(0, ITEMS, length).tolist() for length in random.integers(0, 9, 57)]
    long_enough = [user for user, history in enumerate(train) if history]
    training_set = made_up(train, dict.fromkeys(long_enough[::2], 1), dict.fromkeys(long_enough, 2))
    export(training_set, tmp_path / "one")
    monkeypatch.setattr(hugging_face, "_BATCH_ROWS", 7)
    export(training_set, tmp_path / "many")
    for name in ("train", "validation", "test"):
        file = f"data/{name}-00000-of-00001.parquet"
        assert pq.read_table(tmp_path / "one" / file).equals(pq.read_table(tmp_path / "many" / file))
        assert pq.read_metadata(tmp_path / "many" / file).num_row_groups > 3


def test_an_empty_history_is_a_prompt_without_items(tmp_path: Path):
    export(made_up([[], [0, 1]], {}, {0: 3}), tmp_path)
    (row,) = pq.read_table(tmp_path / "data" / "test-00000-of-00001.parquet").to_pylist()
    assert row["seen_asins"] == []
    assert "### History:\n\n### Next item:\n" in row["ptext"]


def test_what_cannot_be_exported_is_refused(training_set: TrainingSet, tmp_path: Path):
    without = made_up([[0, 1]], {}, {0: 2})
    object.__setattr__(without, "item_text", None)
    with pytest.raises(ValueError, match="Toys has no item text"):
        export(without, tmp_path)
    with pytest.raises(ValueError, match="needs at least one item"):
        export(training_set, tmp_path, history_limit=0)
    with pytest.raises(ValueError, match="item B5 of Toys is not one line"):
        export(training_set.with_text((*TEXTS[:5], "two\nlines")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_from_the_marts_to_the_export(training_set: TrainingSet, tmp_path: Path):
    """The contract of the items, their text and the export agree on one made-up table."""
    pandas = pytest.importorskip("pandas")
    from orchestration.contracts.checks import load_contracts, read_columns, validate

    items = pandas.DataFrame(
        {
            "item_id": [f"B{n}" for n in range(ITEMS)],
            "title": [f"lorry {n}" for n in range(ITEMS)],
            "brand": "Ada",
            "category": None,
            "price": [1.0 + n / 100 for n in range(ITEMS)],
            "has_metadata": True,
            "interactions": 5,
        }
    )
    items.to_parquet(tmp_path / "items.parquet")
    contract = next(contract for contract in load_contracts() if contract.asset == "marts/items")
    result = validate(contract, read_columns(tmp_path / "items.parquet", contract.columns))
    assert all(entry.passed for entry in result.results)
    texts = item_texts(tmp_path / "items.parquet", training_set.item_ids)
    assert texts == TEXTS
    save_item_text(tmp_path, training_set.item_ids, texts)
    with_text = training_set.with_text(load_item_text(tmp_path, training_set.item_ids))
    assert export(with_text, tmp_path / "export")["test"].rows == len(training_set.test_users)
