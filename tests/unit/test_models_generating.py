"""Models that generate identifiers: what all promise, and what the heads of ml/models/item_codes compute."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ml.codes.trie import Trie
from ml.generation.beam_search import TrieTensors, beam_search
from ml.generation.exact import exact_log_probabilities
from ml.models.build import build_model
from ml.models.generating_model import GeneratingModel
from ml.models.item_codes.tree_head import Edges, edge_products, segment_log_sum_exp
from ml.models.item_embeddings import DenseItemEmbedding
from ml.models.settings import MODEL_SETTINGS
from ml.objectives.code_cross_entropy import CodeCrossEntropy
from ml.objectives.settings import CodeCrossEntropySettings, SoftmaxSettings
from ml.objectives.softmax import Softmax
from ml.objectives.targets import Targets

ITEMS, USERS, MAX_LENGTH = 30, 5, 8
SIZES = (4, 5, 6)

_ITEM_CODES = {
    "dimensions": 12,
    "blocks": 2,
    "heads": 3,
    "feed_forward_dimensions": 20,
    "dropout": 0.3,
    "max_length": MAX_LENGTH,
    "block": "pre_norm",
    "reads": "codes_and_items",
    "beam_width": 0,
    "embedding_deviation": 0.7,
}
_TIGER = {
    "dimensions": 12,
    "heads": 2,
    "head_dimensions": 5,
    "feed_forward_dimensions": 20,
    "encoder_blocks": 2,
    "decoder_blocks": 2,
    "feed_forward": "relu",
    "dropout": 0.3,
    "max_length": MAX_LENGTH,
    "reads": "codes",
    "user_tokens": 0,
    "tied_heads": False,
    "beam_width": 7,
    "embedding_deviation": 1.0,
}
MODELS: dict[str, tuple[str, dict]] = {
    "tree": ("item_codes", _ITEM_CODES | {"head": "tree", "head_deviation": 0.7}),
    "tree_of_codes_alone": ("item_codes", _ITEM_CODES | {"head": "tree", "reads": "codes", "head_deviation": 0.7}),
    "prefix": ("item_codes", _ITEM_CODES | {"head": "prefix", "head_deviation": 0.7, "beam_width": 7}),
    "prefix_of_items": ("item_codes", _ITEM_CODES | {"head": "prefix", "reads": "items", "head_deviation": 0.7}),
    "parallel": ("item_codes", _ITEM_CODES | {"head": "parallel"}),
    "tiger": ("tiger", _TIGER),
    "tiger_with_users": (
        "tiger",
        _TIGER | {"user_tokens": 6, "tied_heads": True, "feed_forward": "gated_gelu", "reads": "codes_and_items"},
    ),
    "gptrec_codes": (
        "gptrec_codes",
        {name: value for name, value in _ITEM_CODES.items() if name not in ("block", "reads")},
    ),
}
PREFIXES = [name for name in MODELS if name != "parallel"]

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _codes() -> np.ndarray:
    """Unique identifiers with prefixes of one child and of several."""
    every = np.array(list(itertools.product(*(range(size) for size in SIZES))), dtype=np.uint8)
    return np.random.default_rng(3).permutation(every)[:ITEMS]


def _model(name: str, codes: np.ndarray | None = None) -> GeneratingModel:
    architecture, table = MODELS[name]
    torch.manual_seed(0)
    model = build_model(
        MODEL_SETTINGS[architecture](**table), ITEMS, USERS, _codes() if codes is None else codes, SIZES
    )
    assert isinstance(model, GeneratingModel)
    return model


def _inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four histories, each with the state after its last item."""
    lengths = torch.tensor([3, MAX_LENGTH, 1, 6])
    items = torch.randint(ITEMS, (4, MAX_LENGTH), generator=torch.Generator().manual_seed(1))
    return items, lengths, torch.tensor([0, 4, -1, 2]), torch.arange(4) * MAX_LENGTH + lengths - 1


def _log_likelihood(model: GeneratingModel, inputs: tuple[torch.Tensor, ...], item: int) -> torch.Tensor:
    """Of one item for every history, from the predictions that training uses."""
    total = torch.zeros(len(inputs[3]))
    for row in range(len(total)):
        alone = (*inputs[:3], inputs[3][row : row + 1])
        for level in model.predictions(*alone, torch.tensor([item])):
            total[row] += level.logits.log_softmax(dim=1)[0, level.targets[0]]
    return total


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_all_scores_are_the_likelihoods_that_training_maximises(name: str):
    model, inputs = _model(name).eval(), _inputs()
    scores = model.score_all(*inputs)
    if scores is None:
        scores = exact_log_probabilities(model.prefix_scorer(*inputs), TrieTensors.of(model.trie))
    expected = torch.stack([_log_likelihood(model, inputs, item) for item in range(ITEMS)], dim=1)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PREFIXES)
@torch.no_grad()
def test_walking_the_trie_gives_the_scores_of_all_items(name: str):
    model, inputs = _model(name).eval(), _inputs()
    walked = exact_log_probabilities(model.prefix_scorer(*inputs), TrieTensors.of(model.trie))
    expected = torch.stack([_log_likelihood(model, inputs, item) for item in range(ITEMS)], dim=1)
    torch.testing.assert_close(walked, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PREFIXES)
@torch.no_grad()
def test_a_beam_as_wide_as_the_catalogue_finds_all_items_in_order(name: str):
    model, inputs = _model(name).eval(), _inputs()
    trie = TrieTensors.of(model.trie)
    exact = exact_log_probabilities(model.prefix_scorer(*inputs), trie)
    beams = beam_search(model.prefix_scorer(*inputs), trie, ITEMS)
    assert (beams.items.sort(dim=1).values == torch.arange(ITEMS)).all()
    torch.testing.assert_close(beams.scores, exact.gather(1, beams.items), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["tree", "tree_of_codes_alone"])
@torch.no_grad()
def test_probabilities_of_a_tree_sum_to_one(name: str):
    scores = _model(name).eval().score_all(*_inputs())
    assert scores is not None
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(4))


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_later_items_change_nothing(name: str):
    model = _model(name).eval()
    items, lengths, users, _ = _inputs()
    lengths = torch.full_like(lengths, MAX_LENGTH)
    positions, targets = torch.tensor([2, MAX_LENGTH + 2]), torch.tensor([5, 6])
    changed = items.clone()
    changed[:, 3:] = (changed[:, 3:] + 7) % ITEMS
    for before, after in zip(
        model.predictions(items, lengths, users, positions, targets),
        model.predictions(changed, lengths, users, positions, targets),
        strict=True,
    ):
        torch.testing.assert_close(before.logits, after.logits)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_padding_changes_nothing(name: str):
    model, (items, lengths, users, positions) = _model(name).eval(), _inputs()
    targets = torch.tensor([1, 2, 3, 4])
    padded = items.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = ITEMS - 1
    for before, after in zip(
        model.predictions(items, lengths, users, positions, targets),
        model.predictions(padded, lengths, users, positions, targets),
        strict=True,
    ):
        torch.testing.assert_close(before.logits, after.logits)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_gets_a_gradient(name: str):
    model = _model(name).train()
    items = torch.arange(ITEMS).repeat(2)[: 4 * MAX_LENGTH].view(4, MAX_LENGTH)
    lengths, positions = torch.full((4,), MAX_LENGTH), torch.arange(4 * MAX_LENGTH)
    targets = torch.arange(4 * MAX_LENGTH) % ITEMS
    objective = CodeCrossEntropy(CodeCrossEntropySettings(), np.zeros(ITEMS))
    objective(model.predictions(items, lengths, torch.zeros(4, dtype=torch.int64), positions, targets), 32).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", ["tree", "prefix", "gptrec_codes"])
def test_identifiers_that_two_items_share_are_refused(name: str):
    codes = _codes()
    codes[1] = codes[0]
    with pytest.raises(ValueError, match="identifier"):
        _model(name, codes).trie  # noqa: B018


def test_an_item_whose_prefix_has_no_other_continuation_costs_nothing_there():
    codes = np.array([[0, 0], [0, 1], [1, 3]], dtype=np.uint8)
    torch.manual_seed(0)
    table = MODELS["tree"][1] | {"max_length": 2}
    model = build_model(MODEL_SETTINGS["item_codes"](**table), 3, 1, codes, (2, 4))
    assert isinstance(model, GeneratingModel)
    one = torch.zeros(1, 1, dtype=torch.int64)
    levels = model.predictions(one, torch.ones(1, dtype=torch.int64), one[0], torch.tensor([0]), torch.tensor([2]))
    assert [level.level for level in levels] == [0]
    assert len(dict(model.named_parameters())["head.vectors"]) == 4  # two codes, and the two items that share a prefix


@torch.no_grad()
def test_a_new_item_gets_a_finite_score_from_trained_weights_of_prefixes():
    model = _model("prefix").eval()
    every = set(itertools.product(*(range(size) for size in SIZES)))
    free = sorted(every - {tuple(row) for row in _codes().tolist()})[0]
    extended = Trie.of(np.concatenate([_codes(), np.array([free], dtype=np.uint8)]))
    before = exact_log_probabilities(model.prefix_scorer(*_inputs()), TrieTensors.of(model.trie))
    model._trie = extended
    after = exact_log_probabilities(model.prefix_scorer(*_inputs()), TrieTensors.of(extended))
    torch.testing.assert_close(before, after[:, :ITEMS])
    assert torch.isfinite(after[:, ITEMS]).all()


def test_sums_of_exponentials_by_segment_match_logsumexp():
    values = torch.randn(9, 4, dtype=torch.float64) * 300
    bounds = torch.tensor([0, 2, 3, 9])
    expected = torch.stack([values[a:b].logsumexp(dim=0) for a, b in itertools.pairwise(bounds.tolist())])
    torch.testing.assert_close(segment_log_sum_exp(values, bounds), expected)


class TestCodeCrossEntropy:
    def _loss(self, targets: int = 20, **options) -> float:
        generator = torch.Generator().manual_seed(4)
        from ml.models.generating_model import CodePredictions

        predictions = [
            CodePredictions(0, torch.randn(20, 7, generator=generator), torch.arange(20) % 7),
            CodePredictions(1, torch.randn(12, 5, generator=generator), torch.arange(12) % 5),
            CodePredictions(1, torch.randn(3, 2, generator=generator), torch.arange(3) % 2),
        ]
        self.parts = [
            torch.nn.functional.cross_entropy(
                each.logits / options.get("label_temperature", 1.0),
                each.targets,
                reduction="sum",
                label_smoothing=options.get("label_smoothing", 0.0),
            ).item()
            for each in predictions
        ]
        return CodeCrossEntropy(CodeCrossEntropySettings(**options), np.zeros(1))(predictions, targets).item()

    @pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"label_temperature": 2.0}])
    def test_is_the_sum_over_levels_of_torch_cross_entropy(self, options):
        loss = self._loss(**options)
        assert loss == pytest.approx(sum(self.parts) / 20, rel=1e-5)

    def test_weighs_levels(self):
        loss = self._loss(level_weights=(2.0, 0.5))
        assert loss == pytest.approx((2 * self.parts[0] + 0.5 * (self.parts[1] + self.parts[2])) / 20, rel=1e-5)

    def test_refuses_fewer_weights_than_levels(self):
        with pytest.raises(ValueError, match="level_weights has 1 weights, and identifiers have 2 levels"):
            self._loss(level_weights=(1.0,))

    def test_smooths_over_the_choices_that_exist(self):
        from ml.models.generating_model import CodePredictions

        logits = torch.tensor([[1.0, 2.0, -torch.inf]], requires_grad=True)
        objective = CodeCrossEntropy(CodeCrossEntropySettings(label_smoothing=0.3), np.zeros(1))
        loss = objective([CodePredictions(0, logits, torch.tensor([1]))], 1)
        expected = torch.nn.functional.cross_entropy(logits[:, :2].detach(), torch.tensor([1]), label_smoothing=0.3)
        assert loss.item() == pytest.approx(expected.item())
        loss.backward()
        assert torch.isfinite(logits.grad).all()


def test_products_of_pairs_have_the_gradients_of_autograd():
    generator = torch.Generator().manual_seed(2)
    queries = torch.randn(5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    table = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    counts = torch.tensor([2, 0, 4, 1, 0])
    of_edge = torch.repeat_interleave(torch.arange(5), counts)
    edges = Edges(of_edge, torch.tensor([6, 0, 3, 3, 1, 0, 5]), counts.cumsum(0) - counts)
    torch.testing.assert_close(
        edge_products(queries, table, edges), (queries[edges.queries] * table[edges.rows]).sum(dim=1)
    )
    assert torch.autograd.gradcheck(lambda *inputs: edge_products(*inputs, edges), (queries, table))


class TestDenseCandidates:
    """The tree with ``dense_candidates``: chosen by codes, ranked by dot products."""

    def _model(self, **changes) -> GeneratingModel:
        table = MODELS["tree"][1] | {"dense_candidates": 5} | changes
        torch.manual_seed(0)
        counts = np.ones(ITEMS, dtype=np.int64)
        counts[[4, 9]] = 0
        model = build_model(MODEL_SETTINGS["item_codes"](**table), ITEMS, USERS, _codes(), SIZES, counts)
        assert isinstance(model, GeneratingModel)
        return model.eval()

    @torch.no_grad()
    def test_candidates_and_items_never_seen_come_first_in_the_order_of_dot_products(self):
        model, inputs = self._model(), _inputs()
        by_codes, scores = _model("tree").eval().score_all(*inputs), model.score_all(*inputs)
        assert by_codes is not None
        assert scores is not None
        states = model.states(inputs[0], inputs[1], inputs[3])
        dense = states @ model.inputs(torch.arange(ITEMS)).T
        for row in range(4):
            first = set(by_codes[row].topk(5).indices.tolist()) | {4, 9}
            expected = sorted(first, key=lambda item: -dense[row, item])
            rest = sorted(set(range(ITEMS)) - first, key=lambda item: -by_codes[row, item])
            assert scores[row].argsort(descending=True).tolist() == expected + rest

    @torch.no_grad()
    def test_without_the_loss_of_codes_it_is_trained_as_a_softmax_over_all_items(self):
        model = self._model(reads="items")
        items, lengths, users, positions = _inputs()
        targets = torch.tensor([1, 2, 3, 4])
        objective = CodeCrossEntropy(CodeCrossEntropySettings(level_weights=(0.0, 0.0, 0.0, 1.0)), np.zeros(1))
        loss = objective(model.predictions(items, lengths, users, positions, targets), 4)
        embedding = DenseItemEmbedding(ITEMS, 12, 1.0)
        embedding.weight.data = model.inputs.of_items.data
        softmax = Softmax(SoftmaxSettings(), np.zeros(1))
        expected = softmax(
            model.states(items, lengths, positions), Targets(targets), embedding, np.random.default_rng(0)
        )
        torch.testing.assert_close(loss, expected)

    def test_heads_that_search_have_none(self):
        with pytest.raises(ValueError, match="beam_width must be 0 with dense_candidates"):
            MODEL_SETTINGS["item_codes"](**MODELS["prefix"][1], dense_candidates=5)
        with pytest.raises(ValueError, match="go with the heads tree and parallel"):
            MODEL_SETTINGS["item_codes"](**MODELS["prefix_of_items"][1], dense_candidates=5)


@pytest.mark.parametrize("head", ["tree", "prefix", "parallel"])
def test_states_choose_their_items_among_the_targets_of_a_batch(head: str) -> None:
    targets = torch.tensor([7, 2, 7, 11])
    found = {}
    for weight in (0.0, 0.4):
        table = _ITEM_CODES | {"head": head, "dropout": 0.0, "dense_weight": weight, "dense_temperature": 0.2}
        torch.manual_seed(0)
        model = build_model(MODEL_SETTINGS["item_codes"](**table), ITEMS, USERS, _codes(), SIZES)
        found[weight] = model.predictions(*_inputs(), targets)
    *others, further = found[0.4]
    for one, other in zip(found[0.0], others, strict=True):
        assert torch.equal(one.logits, other.logits)
    states = model.states(_inputs()[0], _inputs()[1], _inputs()[3])
    distinct = [2, 7, 11]
    cosines = [
        [
            float(torch.cosine_similarity(state, model.inputs(torch.tensor([item]))[0], dim=0).detach())
            for item in distinct
        ]
        for state in states
    ]
    torch.testing.assert_close(further.logits, torch.tensor(cosines) / 0.2)
    assert further.targets.tolist() == [distinct.index(int(target)) for target in targets]
    assert further.weight == 0.4


@pytest.mark.parametrize("name", ["alignment_weight", "ranking_weight"])
def test_other_heads_have_no_vectors_of_nodes(name: str) -> None:
    with pytest.raises(ValueError, match="go with the head tree"):
        MODEL_SETTINGS["item_codes"](**_ITEM_CODES | {"head": "prefix", name: 0.1})
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        MODEL_SETTINGS["item_codes"](**_ITEM_CODES | {"head": "tree", name: -1.0})


def test_further_losses_of_a_tree_are_predicted_beside_the_paths() -> None:
    targets = torch.tensor([1, 2, 9, 11])
    found = {}
    for name, further in {"plain": {}, "taught": {"alignment_weight": 0.1, "ranking_weight": 0.1}}.items():
        table = _ITEM_CODES | {"head": "tree", "dropout": 0.0} | further
        torch.manual_seed(0)
        model = build_model(MODEL_SETTINGS["item_codes"](**table), ITEMS, USERS, _codes(), SIZES)
        found[name] = model.predictions(*_inputs(), targets)
        assert set(model.state_dict()) == {*dict(model.named_parameters()), "codes"}
    plain, taught = found["plain"], found["taught"]
    assert len(taught) > len(plain)
    for one, other in zip(plain, taught[: len(plain)], strict=True):
        assert torch.equal(one.logits, other.logits)
        assert one.weight == 1.0
    assert {prediction.weight for prediction in taught[len(plain) :]} == {0.1}
