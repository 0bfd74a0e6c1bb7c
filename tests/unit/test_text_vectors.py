"""The vectors of item text: computed once, whoever asks, and saved for other processes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recommender_factories import made_up_training_set

from ml.audits.transitions import measure_smoothness
from ml.baselines.registry import BASELINES
from ml.beyond_accuracy.vectors import text_vectors_of
from ml.data.files import DamagedFile
from ml.data.training_set import ItemTexts, TrainingSet
from ml.text.encoder import TextEncoder
from ml.text.registry import create_encoder
from ml.text.tf_idf_svd import TfIdfSvd
from ml.text.vectors import NAMES, load_text_vectors, name_vectors, save_text_vectors, text_vectors

READERS = ("text_graph_last", "text_graph_last_two")


@pytest.fixture
def training_set() -> TrainingSet:
    return made_up_training_set(items=40)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each encoding read."""
    asked: list[int] = []
    encode = TfIdfSvd.encode

    def counted(self: TextEncoder, texts: tuple[str, ...]) -> np.ndarray:
        asked.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(TfIdfSvd, "encode", counted)
    return asked


def read_by_all(training_set: TrainingSet) -> list[np.ndarray]:
    fitted = [BASELINES[name].create().fit(training_set).text_vectors for name in READERS]
    assert measure_smoothness(training_set, np.arange(5), 0) is not None
    return fitted


def test_vectors_are_those_of_the_encoder_bit_for_bit(training_set: TrainingSet) -> None:
    plain = create_encoder("tf_idf_svd").encode(list(training_set.item_text))
    for vectors in read_by_all(training_set):
        assert np.array_equal(vectors, plain)


def test_they_are_computed_once_whoever_asks(training_set: TrainingSet, encoded: list[int]) -> None:
    read_by_all(training_set)
    # other splits of the same catalogue hold the same texts
    read_by_all(training_set.with_validation_trained_on())
    read_by_all(
        replace(training_set, test_users=training_set.test_users[:5], test_targets=training_set.test_targets[:5])
    )
    assert encoded == [40]
    text_vectors_of(training_set)
    text_vectors_of(training_set.with_validation_trained_on())
    assert encoded == [40, 40]


def test_other_texts_have_vectors_of_their_own(training_set: TrainingSet, encoded: list[int]) -> None:
    first = text_vectors(training_set)
    other = training_set.with_text(tuple(reversed(training_set.item_text)))
    assert len(encoded) == 1
    assert not np.array_equal(text_vectors(other), first)
    assert len(encoded) == 2


def test_what_was_saved_is_read_and_not_computed(training_set: TrainingSet, encoded: list[int], tmp_path: Path) -> None:
    saved = save_text_vectors(tmp_path, training_set)
    fresh = load_text_vectors(tmp_path, training_set.with_text(tuple(training_set.item_text)))
    encoded.clear()
    for vectors in read_by_all(fresh):
        assert np.array_equal(vectors, saved["tf_idf_svd"])
    assert np.array_equal(text_vectors_of(fresh), saved[NAMES])
    assert encoded == []


def test_a_baseline_is_saved_the_same_with_either(training_set: TrainingSet, tmp_path: Path) -> None:
    for name in ("vectors", "loaded", "computed"):
        (tmp_path / name).mkdir()
    save_text_vectors(tmp_path / "vectors", training_set)
    BASELINES["text_graph_last"].create().fit(training_set).save(tmp_path / "computed")
    loaded = load_text_vectors(tmp_path / "vectors", training_set.with_text(tuple(training_set.item_text)))
    BASELINES["text_graph_last"].create().fit(loaded).save(tmp_path / "loaded")
    for path in (tmp_path / "computed").iterdir():
        assert path.read_bytes() == (tmp_path / "loaded" / path.name).read_bytes(), path.name


def test_texts_without_a_word_are_saved_too(training_set: TrainingSet, tmp_path: Path) -> None:
    silent = training_set.with_text(("",) * training_set.items)
    save_text_vectors(tmp_path, silent)
    loaded = load_text_vectors(tmp_path, training_set.with_text(("",) * training_set.items))
    assert text_vectors(loaded).shape == (training_set.items, 0)
    assert text_vectors_of(loaded) is None


def test_vectors_of_other_texts_are_refused(training_set: TrainingSet, tmp_path: Path) -> None:
    save_text_vectors(tmp_path, training_set)
    other = training_set.with_text(tuple(reversed(training_set.item_text)))
    with pytest.raises(DamagedFile, match="made from other item texts"):
        load_text_vectors(tmp_path, other)
    assert isinstance(other.item_text, ItemTexts)
    assert other.item_text.vectors == {}


@pytest.mark.parametrize("broken", ["missing", "short", "format"])
def test_damaged_vectors_are_refused(training_set: TrainingSet, tmp_path: Path, broken: str) -> None:
    save_text_vectors(tmp_path, training_set)
    if broken == "missing":
        (tmp_path / "names.npy").unlink()
    elif broken == "short":
        np.save(tmp_path / "names.npy", np.zeros((3, 2), dtype=np.float32))
    else:
        description = json.loads((tmp_path / "text_vectors.json").read_text())
        (tmp_path / "text_vectors.json").write_text(json.dumps(description | {"format": "raw2rank-text-vectors-0"}))
    fresh = training_set.with_text(tuple(training_set.item_text))
    with pytest.raises(DamagedFile, match=str(tmp_path)):
        load_text_vectors(tmp_path, fresh)
    # nothing of it is used
    assert isinstance(fresh.item_text, ItemTexts)
    assert fresh.item_text.vectors == {}


def test_without_text_there_are_none(training_set: TrainingSet, tmp_path: Path) -> None:
    bare = replace(training_set, item_text=None)
    for ask in (text_vectors, name_vectors, lambda data: save_text_vectors(tmp_path, data)):
        with pytest.raises(ValueError, match=r"loaded without its item text: add it with TrainingSet\.with_text"):
            ask(bare)
    assert list(tmp_path.iterdir()) == []
