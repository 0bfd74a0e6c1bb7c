"""ml/models/gpt2.py and ml/models/gptrec_codes.py: what the cache of keys and values changes, which is nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_toys import ring_training_set

from ml.codes.recipe import load_codes_recipes
from ml.data.sequences import Sequences
from ml.generation.beam_search import TrieTensors, beam_search
from ml.models import gpt2
from ml.models.catalogue import Catalogue
from ml.models.gpt2 import GPT2, Continuation, Continuations
from ml.models.gptrec_codes import GPTRecCodes
from ml.models.settings import GPTRecCodesSettings
from ml.tasks.build import build_task
from ml.tasks.settings import TASK_SETTINGS
from ml.training.recipe import load_recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

DIMENSIONS, HEADS, ITEMS, LONGEST, SIZES = 12, 3, 30, 6, (4, 5, 3)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _drawn_anew(module: nn.Module) -> nn.Module:
    """In evaluation mode, with weights large enough for attention to differ from a mean."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def _model(blocks: int = 2, **changes) -> GPTRecCodes:
    every = np.array(list(itertools.product(*(range(size) for size in SIZES))), dtype=np.uint8)
    codes = np.random.default_rng(0).permutation(every)[:ITEMS]
    table = {
        "dimensions": DIMENSIONS,
        "blocks": blocks,
        "heads": HEADS,
        "feed_forward_dimensions": 20,
        "dropout": 0.2,
        "max_length": LONGEST,
        "beam_width": 4,
        "embedding_deviation": 0.5,
    }
    settings = GPTRecCodesSettings(**(table | changes))
    return _drawn_anew(GPTRecCodes(settings, Catalogue(ITEMS, codes=codes, book_sizes=SIZES)))


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    at_once=st.sampled_from([1, 40, 1 << 24]),
    seed=st.integers(0, 99),
)
@torch.no_grad()
def test_continuations_equal_whole_sequences_read_again(lengths, widths, at_once, seed):
    """Any branching: each continuation is compared with its history and all of its own tokens in one sequence."""
    trunk = _drawn_anew(GPT2(DIMENSIONS, 2, HEADS, 20, 0.3))
    generator = torch.Generator().manual_seed(seed)
    rows = len(lengths)
    history = torch.randn(rows, max(lengths), DIMENSIONS, generator=generator)
    states, cache = trunk.read(history)
    torch.testing.assert_close(states, trunk(history))
    continuations = Continuations(trunk, cache, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])
    own: list[list[list[torch.Tensor]]] = [[[]] for _ in lengths]
    before, gpt2._WEIGHTS_AT_ONCE = gpt2._WEIGHTS_AT_ONCE, at_once
    try:
        for step, width in enumerate(widths):
            continued = torch.randint(len(own[0]), (rows, width), generator=generator)
            tokens = torch.randn(rows, width, DIMENSIONS, generator=generator)
            if step:
                continuations.reorder(continued)
            found = continuations.extend(tokens)
            own = [
                [own[row][parent] + [tokens[row, place]] for place, parent in enumerate(continued[row].tolist())]
                for row in range(rows)
            ]
            for row, place in itertools.product(range(rows), range(width)):
                sequence = torch.cat([history[row, : lengths[row]], torch.stack(own[row][place])])
                torch.testing.assert_close(found[row, place], trunk(sequence[None])[0, -1], rtol=1e-5, atol=1e-5)
    finally:
        gpt2._WEIGHTS_AT_ONCE = before


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3), room=st.integers(1, 5), seed=st.integers(0, 99))
@torch.no_grad()
def test_a_single_continuation_equals_whole_sequences_read_again(lengths, room, seed):
    """One token after the other, behind histories of different lengths."""
    trunk = _drawn_anew(GPT2(DIMENSIONS, 2, HEADS, 20, 0.3))
    generator = torch.Generator().manual_seed(seed)
    rows = len(lengths)
    history = torch.randn(rows, max(lengths), DIMENSIONS, generator=generator)
    tokens = torch.randn(rows, room, DIMENSIONS, generator=generator)
    _, cache = trunk.read(history)
    visible = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    continuation = Continuation(trunk, cache, visible, room)
    for step in range(room):
        found = continuation.extend(tokens[:, step])
        for row, length in enumerate(lengths):
            sequence = torch.cat([history[row, :length], tokens[row, : step + 1]])
            torch.testing.assert_close(found[row], trunk(sequence[None])[0, -1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_states_at_some_places_are_those_of_the_whole_sequence(blocks, dropout):
    """With their gradients; places in any order, some more than once."""
    trunk = _drawn_anew(GPT2(DIMENSIONS, blocks, HEADS, 20, dropout))
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(3, 7, DIMENSIONS, generator=generator, requires_grad=True)
    places = torch.randint(7, (3, 5), generator=generator)
    weights = torch.randn(3, 5, DIMENSIONS, generator=generator)
    found = trunk.states_at(inputs, places)
    expected = trunk(inputs)[torch.arange(3)[:, None], places]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad((states * weights).sum(), inputs)[0] for states in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    trunk.train()
    torch.manual_seed(0)
    one, other = trunk.states_at(inputs, places), trunk.states_at(inputs, places)
    assert torch.allclose(one, other) == (dropout == 0)


def test_a_history_is_not_copied_for_its_continuations():
    """Memory: keys and values of the history once, of its continuations only what they added."""
    trunk = _drawn_anew(GPT2(DIMENSIONS, 2, HEADS, 20, 0.0))
    with torch.no_grad():
        _, cache = trunk.read(torch.randn(2, 9, DIMENSIONS))
        continuations = Continuations(trunk, cache, torch.ones(2, 9, dtype=torch.bool))
        for _ in range(3):
            continuations.extend(torch.randn(2, 7, DIMENSIONS))
    assert all(kept is given for kept, given in zip(continuations.histories, cache, strict=True))
    assert [tuple(each.keys.shape) for each in continuations.added] == [(2, 7, HEADS, 3, DIMENSIONS // HEADS)] * 2


def test_fresh_weights_are_those_of_gpt2():
    torch.manual_seed(0)
    trunk = GPT2(64, 8, 4, 256, 0.1, deviation=0.05)
    for block in trunk.each_block():
        assert block.attention.query.weight.std().item() == pytest.approx(0.05, rel=0.1)
        assert block.feed_forward.widen.weight.std().item() == pytest.approx(0.05, rel=0.1)
        for last in (block.attention.output, block.feed_forward.narrow):
            assert last.weight.std().item() == pytest.approx(0.05 / 4, rel=0.1)
            assert not last.bias.any()


def _uncached(model: GPTRecCodes, history: list[int], prefix: list[int], length: int | None = None) -> torch.Tensor:
    """Log-probabilities of all codes of the level after a prefix, by reading everything again as one sequence.

    ``length`` is that of the row which a history inside a row is of, since positions are counted from its end.
    """
    rows = [model.codes[item].tolist() for item in history]
    tokens = [*itertools.chain(*rows), *prefix]
    first = (model.max_length - (length or len(history))) * model.levels
    vectors = [
        model.tokens[place % model.levels][code] + model.positions[first + place] for place, code in enumerate(tokens)
    ]
    state = model.trunk(torch.stack(vectors)[None])[0, -1]
    return (model.tokens[len(prefix)] @ state).log_softmax(dim=0)


@pytest.mark.parametrize("blocks", [1, 2])
@torch.no_grad()
def test_beams_with_the_cache_equal_beams_without_it(blocks):
    """Beam search written with lists, which reads the whole sequence again for each prefix."""
    model, width = _model(blocks), 5
    lengths = [4, LONGEST, 1]
    items = torch.randint(ITEMS, (3, LONGEST), generator=torch.Generator().manual_seed(3))
    inputs = (items, torch.tensor(lengths), torch.full((3,), -1), torch.arange(3) * LONGEST + torch.tensor(lengths) - 1)
    found = beam_search(model.prefix_scorer(*inputs), TrieTensors.of(model.trie), width)
    identifiers = {tuple(codes): item for item, codes in enumerate(model.codes.tolist())}
    for row, length in enumerate(lengths):
        history = items[row, :length].tolist()
        beams: list[tuple[float, list[int]]] = [(0.0, [])]
        for level in range(model.levels):
            longer = []
            for score, prefix in beams:
                scores = _uncached(model, history, prefix)
                existing = {codes[level] for codes in identifiers if list(codes[:level]) == prefix}
                longer += [(score + scores[code].item(), [*prefix, code]) for code in existing]
            beams = sorted(longer, reverse=True)[:width]
        assert found.items[row].tolist() == [identifiers[tuple(codes)] for _, codes in beams]
        torch.testing.assert_close(found.scores[row], torch.tensor([score for score, _ in beams]), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_prefix_scorer_starts_again_at_level_zero():
    model = _model()
    items, lengths = torch.tensor([[3, 7, 1]]), torch.tensor([3])
    scorer, trie = model.prefix_scorer(items, lengths, lengths, torch.tensor([2])), TrieTensors.of(model.trie)
    first, again = beam_search(scorer, trie, 4), beam_search(scorer, trie, 4)
    assert torch.equal(first.items, again.items)
    assert torch.equal(first.scores, again.scores)


@torch.no_grad()
def test_states_inside_a_row_are_scored_as_the_history_up_to_there():
    model, trie = _model(), TrieTensors.of(_model().trie)
    items, lengths = torch.tensor([[3, 7, 1, 9], [5, 2, 0, 0]]), torch.tensor([4, 2])
    positions = torch.tensor([1, 3, 4])
    found = beam_search(model.prefix_scorer(items, lengths, lengths, positions), trie, 4)
    # positions count from the end of the row, so the shorter history keeps its place in the row
    for number, (row, place) in enumerate([(0, 1), (0, 3), (1, 0)]):
        changed = items.clone()
        changed[row, place + 1 :] = 11
        alone = beam_search(model.prefix_scorer(changed, lengths, lengths, positions[number : number + 1]), trie, 4)
        torch.testing.assert_close(found.items[number], alone.items[0])
        torch.testing.assert_close(found.scores[number], alone.scores[0])


@pytest.mark.parametrize(("name", "values"), [("next_item", ()), ("every_prefix", (0,))])
@torch.no_grad()
def test_training_asks_for_what_generation_computes(name, values):
    """Every target of a batch: teacher-forced predictions equal the sequence read again, code by code."""
    model = _model()
    rows = [[3, 7, 1, 9, 4], [5, 2], list(range(10, 10 + LONGEST + 1))]
    task = build_task(TASK_SETTINGS[name](*values), ITEMS)
    batch = task.training_batch(Sequences.from_lists(rows), np.arange(3), LONGEST, np.random.default_rng(0))
    targets = batch.targets.items
    predictions = model.predictions(batch.items, batch.lengths, batch.users, batch.positions, targets)
    assert [each.level for each in predictions] == [0, 1, 2]
    assert len(targets) == sum(len(row) - 1 for row in rows)
    for number, position in enumerate(batch.positions.tolist()):
        row, place = divmod(position, batch.items.shape[1])
        history, codes = batch.items[row, : place + 1].tolist(), model.codes[targets[number]].tolist()
        for level in range(3):
            expected = _uncached(model, history, codes[:level], batch.lengths[row].item())
            found = predictions[level].logits[number].log_softmax(dim=0)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
            assert predictions[level].targets[number] == codes[level]


# test_generation_next_k_codes.py trains the same network until it knows what follows
@pytest.mark.slow
@pytest.mark.parametrize("task", [{"name": "next_item"}, {"name": "every_prefix", "prefixes": 4}])
def test_the_recipe_made_small_learns_what_follows(task):
    """Each item is always followed by the same other one; the list is generated."""
    training_set = ring_training_set()
    tables = load_recipe("gptrec_codes").as_tables()
    tables["model"] |= {"dimensions": 32, "blocks": 1, "max_length": 8, "dropout": 0.1, "beam_width": 5}
    tables["optimiser"]["learning_rate"] = 0.01
    tables["training"] |= {"batch_size": 16, "max_epochs": 12, "patience": 12, "max_steps": 0}
    codes = load_codes_recipes()[tables["codes"]].assign(training_set)
    recipe = recipe_from_tables("gptrec_codes", tables | {"task": task}, "the test")
    recommender = SequentialRecommender(recipe, 0, codes, execution=Execution(threads=1)).fit(training_set)
    assert recommender.log[-1].loss < 0.2 * recommender.log[0].loss
    found = recommender.recommend(training_set.histories("test"), 1, exclude_seen=False)
    assert (found.items[:, 0] == training_set.test_targets).mean() > 0.95


@torch.no_grad()
def test_a_code_means_something_else_on_another_level():
    model = _model()
    assert [len(tokens) for tokens in model.tokens] == list(SIZES)
    codes = torch.tensor([[1, 2, 1], [2, 1, 1]])
    model.codes = codes.int()
    one, other = (
        model.embedded(torch.tensor([[0]]), torch.tensor([1])),
        model.embedded(torch.tensor([[1]]), torch.tensor([1])),
    )
    assert not torch.isclose(one[0, :2], other[0, [1, 0]]).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, r"heads \(5\) must divide dimensions \(12\)"),
        ({"beam_width": -1}, "beam_width must not be negative"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"embedding_deviation": 0.0}, "embedding_deviation must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _model(**changes)
