"""A model exported to ONNX scores as it does in torch, and its lists are those of the bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import bundle_of
from recommender_factories import FACTORIES, made_up_training_set

import raw2rank
from ml.data.files import DamagedFile
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.extras import MissingExtra, missing
from ml.recommender import NO_ITEM, Recommender
from ml.release.bundle import Bundle, BundleError
from ml.release.onnx_export import export_onnx
from ml.release.onnx_recommender import OnnxRecommender, load_with_onnx

SEED = 3
needs_onnx = pytest.mark.skipif(bool(missing("onnx")), reason="the extra 'onnx' is not installed: nothing is exported")
EXPORTED = ("sasrec", "gsasrec", "bert4rec", "gru4rec")


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return made_up_training_set()


def released(name: str, training_set: TrainingSet, folder: Path) -> Bundle:
    factory = next(factory for factory in FACTORIES if factory.name == name)
    (folder / "saved").mkdir(parents=True)
    fitted = factory.create(SEED).fit(training_set)
    return raw2rank.load(bundle_of(factory, fitted, training_set, folder / "saved", folder / "bundle"))


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request, training_set, tmp_path_factory) -> tuple[Bundle, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    bundle = released(request.param, training_set, folder)
    (folder / "onnx").mkdir()
    export_onnx(bundle, folder / "onnx")
    return bundle, folder / "onnx"


@needs_onnx
def test_scores_and_lists_are_those_of_torch(exported, training_set):
    bundle, folder = exported
    onnx = OnnxRecommender.load(folder)
    assert isinstance(onnx, Recommender)
    # of every length up to beyond the longest that is read, and the empty ones
    rng = np.random.default_rng(0)
    made_up = Sequences.from_lists([rng.integers(0, 40, length) for length in range(20)])
    for histories in (replace(training_set.histories("test"), users=None, times=None), made_up, made_up.take([7])):
        for exclude_seen in (False, True):
            one = bundle.recommender.recommend(histories, 40, exclude_seen)
            other = onnx.recommend(histories, 40, exclude_seen)
            np.testing.assert_allclose(other.scores, one.scores, rtol=1e-5, atol=1e-5)
            differ = one.items != other.items
            # only where two scores are that close
            gaps = np.abs(np.diff(one.scores, axis=1, prepend=np.inf, append=-np.inf))
            assert (np.minimum(gaps[:, :-1], gaps[:, 1:])[differ] < 2e-5).all()
            assert ((one.items == NO_ITEM) == (other.items == NO_ITEM)).all()


@needs_onnx
def test_a_bundle_runs_on_it_without_torch(exported):
    bundle, folder = exported
    code = (
        "import sys, json\n"
        "for name in ('torch', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from ml.release.onnx_recommender import load_with_onnx\n"
        f"bundle = load_with_onnx(Path({str(bundle.folder)!r}), Path({str(folder)!r}))\n"
        "print(json.dumps(bundle.recommend([['I001', 'X'], []], k=5).items))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == bundle.recommend([["I001", "X"], []], k=5).items


@needs_onnx
def test_what_does_not_belong_together_is_refused(exported, training_set, tmp_path):
    _, folder = exported
    other = released("most_popular", training_set, tmp_path)
    with pytest.raises(BundleError, match="was not exported from the bundle"):
        load_with_onnx(other.folder, folder)
    for name in ("most_popular", "gsasrec_recjpq", "sasrec_text", "fusion", "tiger"):
        refused = released(name, training_set, tmp_path / name)
        with pytest.raises(BundleError, match=rf"{name}\) cannot be exported to ONNX, as SASRec, gSASRec"):
            export_onnx(refused, tmp_path)
    (tmp_path / "onnx").mkdir()
    with pytest.raises(DamagedFile, match=r"onnx\.json is missing"):
        OnnxRecommender.load(tmp_path / "onnx")


@needs_onnx
def test_an_exported_model_is_not_fitted_again(exported, training_set, tmp_path):
    onnx = OnnxRecommender.load(exported[1])
    with pytest.raises(RuntimeError, match="export it again"):
        onnx.fit(training_set)
    with pytest.raises(RuntimeError, match="copy it"):
        onnx.save(tmp_path)


def test_a_missing_extra_says_how_to_install_it(training_set, tmp_path, monkeypatch):
    bundle = released("most_popular", training_set, tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'raw2rank\[onnx\]'"):
        export_onnx(bundle, tmp_path)
    with pytest.raises(MissingExtra, match=r"the exported model .* needs onnxruntime, which is not installed"):
        OnnxRecommender.load(tmp_path)
