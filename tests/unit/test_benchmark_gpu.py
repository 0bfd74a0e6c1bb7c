"""The benchmark of the GPU measures on a processor too, and says so where there is no GPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu


def test_a_product_and_a_copy_move_what_they_read_and_write():
    left, right = torch.ones(4, 8), torch.ones(8, 2)
    with gpu.BytesMoved() as moved:
        product = left @ right
    assert moved.total == 4 * (4 * 8 + 8 * 2 + 4 * 2)
    with gpu.BytesMoved() as moved:
        product.T.unsqueeze(0).add_(1)  # views move nothing; what is added to is read and written
    assert 2 * 4 * 8 <= moved.total <= 3 * 4 * 8


@pytest.mark.parametrize("recipe", ["gsasrec_ml1m", "sasrec_recjpq_ml1m"])
def test_a_recipe_of_a_claim_is_measured(recipe):
    assert gpu.recipes_of_claims()[recipe] is None
    found = gpu.measured(recipe, "cpu", "float32", False, epochs=1, small=True, sequences=None, threads=1)
    assert set(gpu.COLUMNS) <= set(found)
    assert 0 < found["roofline share"] < 1
    assert found["epoch, s"] * found["sequences/s"] == pytest.approx(gpu.SMALL_USERS)
    # forwards and backwards, a product of each state with one matrix after the other: a few per weight and place
    assert found["TFLOP"] > 0
    shown = gpu.table({recipe: found}, {"gptrec_student_ml1m": "reads the lists of a teacher"})
    assert shown.count("\n") == 3
    assert "| `gptrec_student_ml1m` | not run: reads the lists of a teacher |" in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(capsys):
    assert gpu.main([]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "there is no GPU here, so nothing was measured" in said.err
