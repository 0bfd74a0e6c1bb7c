"""ml/models/state_space.py: the chunked form equals the recurrence, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.models.state_space import in_chunks, step_by_step


def _made_up(seed: int, length: int, kind: torch.dtype, fading: float = 1.0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    inputs = torch.randn(2, length, 3, 4, dtype=kind)
    log_decay = -torch.rand(2, length, 3, dtype=kind) * fading
    return [inputs, log_decay, torch.randn(2, length, 5, dtype=kind), torch.randn(2, length, 5, dtype=kind)]


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 5), st.sampled_from([0.0, 0.1, 1.0, 30.0]))
def test_the_chunked_form_is_the_recurrence(length, chunk, seed, fading):
    made = _made_up(seed, length, torch.float64, fading)
    torch.testing.assert_close(in_chunks(*made, chunk), step_by_step(*made), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("length", "chunk"), [(200, 32), (1000, 64), (7, 32)])
def test_in_float32_it_is_equal_to_a_hundred_thousandth(length, chunk):
    made = _made_up(0, length, torch.float32, 0.2)
    expected = step_by_step(*made)
    found = in_chunks(*made, chunk)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_gradients_are_those_of_the_recurrence():
    made = [each.requires_grad_() for each in _made_up(1, 13, torch.float64)]
    weights = torch.randn(2, 13, 3, 4, dtype=torch.float64)
    of_chunks = torch.autograd.grad((in_chunks(*made, 4) * weights).sum(), made)
    of_steps = torch.autograd.grad((step_by_step(*made) * weights).sum(), made)
    for found, expected in zip(of_chunks, of_steps, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_strong_decays_overflow_nowhere():
    made = _made_up(2, 300, torch.float32, 1e4)
    for each in made:
        each.requires_grad_()
    outputs = in_chunks(*made, 64)
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(each.grad.isfinite().all() for each in made)
