"""ml/models/tiger.py and ml/models/genrec.py: what they compute, and that generating agrees with training."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from t5_weights import copied
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5ForConditionalGeneration

from ml.generation.beam_search import TrieTensors, beam_search
from ml.models.build import build_model
from ml.models.settings import GenRecSettings, TIGERSettings
from ml.models.tiger import TIGER, hashed

ITEMS, SIZES = 30, (5, 4, 6)
SETTINGS = TIGERSettings(
    dimensions=16,
    heads=2,
    head_dimensions=6,
    feed_forward_dimensions=24,
    encoder_blocks=2,
    decoder_blocks=2,
    feed_forward="relu",
    dropout=0.2,
    max_length=6,
    reads="codes",
    user_tokens=0,
    tied_heads=False,
    beam_width=10,
    embedding_deviation=1.0,
)
VARIANTS = {
    "plain": SETTINGS,
    "tied": replace(SETTINGS, tied_heads=True),
    "with_users": replace(SETTINGS, user_tokens=7, feed_forward="gated_gelu"),
    "with_items": replace(SETTINGS, reads="codes_and_items"),
    "genrec": GenRecSettings(**{**vars(SETTINGS), "reads": "codes_and_items"}),
}

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _codes(items: int = ITEMS) -> np.ndarray:
    """Unique ones; some prefixes have one continuation, some have several."""
    every = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), axis=1)
    return np.random.default_rng(0).permutation(every)[:items].astype(np.uint8)


def _model(settings: TIGERSettings, codes: np.ndarray | None = None) -> TIGER:
    codes = _codes() if codes is None else codes
    torch.manual_seed(0)
    return build_model(settings, len(codes), 9, codes, SIZES).eval()


def _inputs(model: TIGER, rows: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Items, lengths, users and positions; of a model with masks the last item is one."""
    generator = torch.Generator().manual_seed(1)
    items = torch.randint(ITEMS, (rows, 6), generator=generator)
    lengths = torch.tensor([3, 6, 1, 5])[:rows]
    last = torch.arange(rows) * 6 + lengths - 1
    if hasattr(model, "mask"):
        items.view(-1)[last] = ITEMS
    return items, lengths, torch.tensor([0, 8, -1, 2])[:rows], last


@torch.inference_mode()
def _teacher_forced(model: TIGER, inputs: tuple[Tensor, ...]) -> Tensor:
    """Log-probability of every item for each row, ``[rows, items]``, without a cache and without a trie."""
    items, lengths, users, positions = inputs
    rows = []
    for row, position in enumerate((positions % items.shape[1]).tolist()):
        repeated = (each[row : row + 1].expand(model.items, *each.shape[1:]) for each in (items, lengths, users))
        places = torch.arange(model.items) * items.shape[1] + position
        # parts of a level follow one another, since all histories are of the same length
        levels: dict[int, list[Tensor]] = defaultdict(list)
        for part in model.predictions(*repeated, places, torch.arange(model.items)):
            levels[part.level].append(part.logits.log_softmax(dim=1).gather(1, part.targets[:, None]).squeeze(1))
        rows.append(sum(torch.cat(parts) for parts in levels.values()))
    return torch.stack(rows)


def _trie(model: TIGER) -> TrieTensors:
    return TrieTensors.of(model.trie)


@pytest.fixture(params=VARIANTS)
def settings(request) -> TIGERSettings:
    return VARIANTS[request.param]


def test_generated_items_have_their_teacher_forced_log_probabilities(settings):
    model = _model(settings)
    inputs = _inputs(model)
    expected = _teacher_forced(model, inputs)
    beams = beam_search(model.prefix_scorer(*inputs), _trie(model), ITEMS)
    assert (beams.items.sort(dim=1).values == torch.arange(ITEMS)).all()
    torch.testing.assert_close(beams.scores, expected.gather(1, beams.items), rtol=1e-5, atol=1e-5)
    # a narrow beam re-orders prefixes at every level, and drops some
    narrow = beam_search(model.prefix_scorer(*inputs), _trie(model), 4)
    torch.testing.assert_close(narrow.scores, expected.gather(1, narrow.items), rtol=1e-5, atol=1e-5)


def test_a_scorer_can_be_searched_twice(settings):
    model = _model(settings)
    scorer = model.prefix_scorer(*_inputs(model))
    first = beam_search(scorer, _trie(model), 5)
    assert torch.equal(beam_search(scorer, _trie(model), 5).scores, first.scores)


@pytest.mark.parametrize("name", ["plain", "tied", "with_users"])
def test_a_level_s_distribution_is_over_all_of_its_codes(name):
    """So items have all the probability only if every combination of codes is an item."""
    model = _model(VARIANTS[name])
    inputs = _inputs(model)
    assert (_teacher_forced(model, inputs).exp().sum(dim=1) < 0.99).all()
    every = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), axis=1).astype(np.uint8)
    total = _teacher_forced(_model(VARIANTS[name], every), inputs).exp().sum(dim=1)
    torch.testing.assert_close(total, torch.ones(4), rtol=1e-5, atol=1e-5)


def test_a_new_item_has_a_score_and_changes_no_other():
    model = _model(SETTINGS)
    larger = _model(SETTINGS, _codes(ITEMS + 1))
    larger.load_state_dict(model.state_dict() | {"codes": larger.codes})
    inputs = _inputs(model)
    before = beam_search(model.prefix_scorer(*inputs), _trie(model), ITEMS)
    after = beam_search(larger.prefix_scorer(*inputs), _trie(larger), ITEMS + 1)
    scores = torch.empty(4, ITEMS + 1).scatter_(1, after.items, after.scores)
    assert torch.isfinite(scores).all()
    torch.testing.assert_close(before.scores, scores.gather(1, before.items), rtol=1e-5, atol=1e-5)


def test_equal_codes_of_two_levels_are_different_tokens():
    codes = np.array([[0, 1], [1, 0], [2, 2], [0, 0]], dtype=np.uint8)
    torch.manual_seed(0)
    model = build_model(SETTINGS, 4, 0, codes).eval()
    read = [(torch.tensor([[item]]), torch.tensor([1]), torch.tensor([-1]), torch.tensor([0])) for item in (0, 1)]
    first, second = (_teacher_forced(model, inputs) for inputs in read)
    assert not torch.isclose(first, second).all()
    tokens = model._tokens_of(model.codes.long())
    assert not set(tokens[:, 0].tolist()) & set(tokens[:, 1].tolist())


def test_padding_and_other_rows_change_nothing(settings):
    model = _model(settings)
    items, lengths, users, last = _inputs(model)
    expected = _teacher_forced(model, (items, lengths, users, last))
    padded = torch.where(torch.arange(6) < lengths[:, None], items, 7)
    assert torch.equal(_teacher_forced(model, (padded, lengths, users, last)), expected)
    alone = _teacher_forced(model, (items[:1, :3], lengths[:1], users[:1], torch.tensor([2])))
    torch.testing.assert_close(alone, expected[:1], rtol=1e-5, atol=1e-5)


def test_histories_of_like_length_are_computed_together():
    """Which changes the order of the predictions, and nothing else."""
    model = _model(VARIANTS["with_users"])
    generator = torch.Generator().manual_seed(2)
    items, lengths = (
        torch.randint(ITEMS, (300, 6), generator=generator),
        torch.randint(1, 7, (300,), generator=generator),
    )
    users, targets = torch.arange(300) % 9, torch.randint(ITEMS, (300,), generator=generator)
    last = torch.arange(300) * 6 + lengths - 1
    together = model.predictions(items, lengths, users, last, targets)
    assert len(together) == 4 * 3
    order = torch.argsort(lengths, stable=True)
    for level in range(3):
        parts = [part for part in together if part.level == level]
        logits, wanted = (torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "targets"))
        assert torch.equal(wanted, model.codes[targets[order], level].long())
        for place in (0, 70, 150, 299):
            row = order[place : place + 1]
            alone = model.predictions(items[row], lengths[row], users[row], lengths[row] - 1, targets[row])[level]
            torch.testing.assert_close(logits[place], alone.logits[0], rtol=1e-5, atol=1e-5)


def test_only_known_users_have_a_token():
    model = _model(VARIANTS["with_users"])
    items, lengths, users, last = _inputs(model)
    items, lengths = items[:1].repeat(4, 1), lengths[:1].repeat(4)
    last = torch.arange(4) * 6 + lengths - 1
    expected = _teacher_forced(model, (items, lengths, users, last))
    assert not torch.isclose(expected[0], expected[1]).all()
    with torch.no_grad():
        model.users.add_(1)
    changed = _teacher_forced(model, (items, lengths, users, last))
    assert torch.equal(changed[2], expected[2])
    assert not torch.isclose(changed[[0, 1, 3]], expected[[0, 1, 3]]).all(dim=1).any()


def test_users_are_hashed_to_all_tokens_alike():
    counts = hashed(torch.arange(20_000), 50).bincount(minlength=50)
    assert len(counts) == 50
    assert counts.min() > 350
    assert counts.max() < 450
    assert ((hashed(torch.tensor([-1, 2**31 - 1]), 7) >= 0) & (hashed(torch.tensor([-1, 2**31 - 1]), 7) < 7)).all()


def test_a_mask_is_not_an_item():
    model = _model(VARIANTS["genrec"])
    items, lengths, users, last = _inputs(model)
    expected = _teacher_forced(model, (items, lengths, users, last))
    for position in (last, last - 1):
        other = items.clone()
        other.view(-1)[position] = (items.view(-1)[position] + 1) % ITEMS
        found = _teacher_forced(model, (other, lengths, users, last))
        assert not torch.isclose(found[[0, 1, 3]], expected[[0, 1, 3]]).all(dim=1).any()
    # items after the mask are seen
    moved = items.clone()
    moved[1, 2], moved[1, 5] = ITEMS, items[1, 2]
    after = moved.clone()
    after[1, 5] = (after[1, 5] + 1) % ITEMS
    found, changed = (_teacher_forced(model, (each, lengths, users, last)) for each in (moved, after))
    assert not torch.isclose(found[1], changed[1]).all()


def test_items_that_share_an_identifier_are_refused():
    codes = np.array([[0, 1], [1, 0], [0, 1]], dtype=np.uint8)
    with pytest.raises(ValueError, match="have the identifier of another item"):
        build_model(SETTINGS, 3, 0, codes)


def test_a_place_amid_a_row_stands_for_the_items_up_to_there():
    model = _model(VARIANTS["with_users"])
    items, lengths, users, last = _inputs(model)
    places = torch.cat([last, torch.tensor([6, 8, 6])])
    targets = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    levels = model.predictions(items, lengths, users, places, targets)
    rows, shorter = torch.tensor([0, 1, 2, 3, 1, 1, 1]), torch.tensor([3, 6, 1, 5, 1, 3, 1])
    alone = model.predictions(items[rows], shorter, users[rows], torch.arange(7) * 6 + shorter - 1, targets)
    for level, expected in zip(levels, alone, strict=True):
        torch.testing.assert_close(level.logits, expected.logits)


def test_every_weight_is_trained(settings):
    model = _model(settings).train()
    items, lengths, users, last = _inputs(model)
    loss = torch.zeros(())
    for prediction in model.predictions(items, lengths, users, last, torch.arange(4)):
        loss = loss + torch.nn.functional.cross_entropy(prediction.logits, prediction.targets)
    loss.backward()
    assert [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_blocks": 0}, "encoder_blocks must be at least 1, not 0"),
        ({"head_dimensions": 0}, "head_dimensions must be at least 1, not 0"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"user_tokens": -1}, "user_tokens must not be negative, not -1"),
        ({"beam_width": -1}, "beam_width must not be negative, not -1"),
        ({"widest_beam": -1}, "widest_beam must not be negative, not -1"),
        ({"embedding_deviation": 0.0}, "embedding_deviation must be above 0"),
        ({"max_length": 0}, "max_length must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


def test_a_mask_needs_an_item_beside_it():
    with pytest.raises(ValueError, match="max_length must be at least 2, an item and a mask, not 1"):
        replace(VARIANTS["genrec"], max_length=1)


class _Continuations(LogitsProcessor):
    """Only continuations in the trie, each with its probability among the codes of its level."""

    def __init__(self, model: TIGER, levels: list[range]) -> None:
        self.levels = levels
        self.identifiers = model._tokens_of(model.codes.long())

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        level = input_ids.shape[1] - 1
        allowed = torch.full_like(scores, -torch.inf)
        of_level = slice(self.levels[level].start, self.levels[level].stop)
        # Hugging Face hands over log-probabilities among all tokens
        among = scores[:, of_level].log_softmax(dim=1)
        for row, read in enumerate(input_ids[:, 1:]):
            continued = self.identifiers[(self.identifiers[:, :level] == read).all(dim=1), level].unique()
            allowed[row, continued] = among[row, continued - of_level.start]
        return allowed


@pytest.mark.parametrize("name", ["plain", "tied", "with_users"])
@torch.inference_mode()
def test_logits_and_beams_equal_hugging_face(name):
    model = _model(VARIANTS[name])
    tables = [model.tokens, model.beginning[None], *([] if model.users is None else [model.users])]
    vocabulary = torch.cat(tables)
    beginning, first_user = len(model.tokens), len(model.tokens) + 1
    sizes = VARIANTS[name]
    theirs = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(vocabulary),
            d_model=sizes.dimensions,
            d_kv=sizes.head_dimensions,
            num_heads=sizes.heads,
            d_ff=sizes.feed_forward_dimensions,
            num_layers=sizes.encoder_blocks,
            num_decoder_layers=sizes.decoder_blocks,
            feed_forward_proj={"relu": "relu", "gated_gelu": "gated-gelu"}[sizes.feed_forward],
            tie_word_embeddings=sizes.tied_heads,
            decoder_start_token_id=beginning,
            pad_token_id=beginning,
            eos_token_id=None,
        )
    )
    copied(model.t5, theirs)
    theirs.shared.weight.copy_(vocabulary)
    theirs.encoder.embed_tokens.weight.copy_(vocabulary)
    theirs.decoder.embed_tokens.weight.copy_(vocabulary)
    if model.heads is not None:
        # their vectors are always tied
        weight = torch.zeros_like(vocabulary)
        weight[: len(model.heads)] = model.heads
        theirs.lm_head.weight = torch.nn.Parameter(weight)
    items, lengths, users, last = _inputs(model)
    tokens = model._tokens_of(model.codes[items].long()).flatten(1)
    mask = (torch.arange(6) < lengths[:, None]).repeat_interleave(3, dim=1)
    if model.users is not None:
        tokens = torch.cat([first_user + hashed(users, len(model.users))[:, None], tokens], dim=1)
        mask = torch.cat([(users >= 0)[:, None], mask], dim=1)
    levels = [range(0, 5), range(5, 9), range(9, 15)]

    targets = torch.tensor([4, 9, 29, 0])
    read = torch.cat([torch.full((4, 1), beginning), model._tokens_of(model.codes[targets].long())[:, :-1]], dim=1)
    logits = theirs(input_ids=tokens, attention_mask=mask.long(), decoder_input_ids=read).logits
    for prediction, level in zip(model.predictions(items, lengths, users, last, targets), levels, strict=True):
        expected = logits[:, prediction.level, level.start : level.stop]
        torch.testing.assert_close(prediction.logits, expected, rtol=1e-5, atol=1e-5)
        assert prediction.targets.tolist() == model.codes[targets, prediction.level].tolist()

    generated = theirs.generate(
        input_ids=tokens,
        attention_mask=mask.long(),
        num_beams=5,
        num_return_sequences=5,
        max_new_tokens=3,
        min_new_tokens=3,
        do_sample=False,
        length_penalty=0.0,
        logits_processor=LogitsProcessorList([_Continuations(model, levels)]),
        return_dict_in_generate=True,
        output_scores=True,
    )
    item_of = {tuple(row): item for item, row in enumerate(model._tokens_of(model.codes.long()).tolist())}
    items_of_theirs = [item_of[tuple(row)] for row in generated.sequences[:, 1:].tolist()]
    beams = beam_search(model.prefix_scorer(items, lengths, users, last), _trie(model), 5)
    assert beams.items.flatten().tolist() == items_of_theirs
    torch.testing.assert_close(beams.scores.flatten(), generated.sequences_scores, rtol=1e-5, atol=1e-5)
