"""The further losses of a tree of identifiers, beside loops over its nodes and items."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ml.codes.trie import Trie
from ml.models.item_codes.tree_contrast import TreeContrast
from ml.models.item_codes.tree_head import TreeHead
from ml.objectives.code_cross_entropy import CodeCrossEntropy
from ml.objectives.settings import CodeCrossEntropySettings

ITEMS, DIMENSIONS, TEMPERATURE = 30, 6, 0.3
SIZES = (3, 4, 6)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def trie() -> Trie:
    every = np.array(list(itertools.product(*(range(size) for size in SIZES))), dtype=np.uint8)
    return Trie.of(np.random.default_rng(1).permutation(every)[:ITEMS])


@pytest.fixture(scope="module")
def head(trie: Trie) -> TreeHead:
    torch.manual_seed(0)
    return TreeHead(trie, DIMENSIONS, 0.7)


def vector_of(head: TreeHead, level: int, node: int, trie: Trie) -> torch.Tensor | None:
    """Of a node, by another way: the children of a node with several of them are side by side, level after level."""
    row = 0
    for above in range(level + 1):
        for parent, (first, end) in enumerate(itertools.pairwise(trie.child_offsets[above])):
            alone = end - first < (2 if above else 1)
            if above == level and parent == trie.parents[level][node]:
                return None if alone else head.vectors[row + node - first]
            row += 0 if alone else int(end - first)
    raise AssertionError


def test_rows_of_nodes(trie: Trie, head: TreeHead) -> None:
    rows = head.rows_of(torch.from_numpy(trie.paths))
    seen = set()
    for item, level in itertools.product(range(ITEMS), range(len(SIZES))):
        vector = vector_of(head, level, int(trie.paths[item, level]), trie)
        row = int(rows[item, level])
        seen.add(row)
        assert (row == -1) is (vector is None)
        if vector is not None:
            assert torch.equal(head.vectors[row], vector)
    assert seen == set(range(len(head.vectors))) | {-1}


def test_every_node_of_a_batch_chooses_its_parent(trie: Trie, head: TreeHead) -> None:
    targets = torch.tensor([3, 17, 3, 29, 8, 21])
    contrast = TreeContrast(trie, head, 0.5, TEMPERATURE, 0.0)
    found = {
        prediction.level: prediction for prediction in contrast.predictions(head, torch.empty(6, DIMENSIONS), targets)
    }
    for level in (1, 2):
        pairs = {(int(trie.paths[item, level - 1]), int(trie.paths[item, level])) for item in targets}
        vectors = {
            (parent, child): (vector_of(head, level - 1, parent, trie), vector_of(head, level, child, trie))
            for parent, child in sorted(pairs)
        }
        vectors = {pair: both for pair, both in vectors.items() if both[0] is not None and both[1] is not None}
        parents = {pair[0]: both[0] for pair, both in vectors.items()}
        expected = 0.0
        for (parent, _), (_, child) in vectors.items():
            cosines = {one: torch.cosine_similarity(child, other, dim=0) for one, other in parents.items()}
            logits = torch.stack(list(cosines.values())) / TEMPERATURE
            expected -= float(logits.log_softmax(0)[list(cosines).index(parent)].detach())
        assert len(parents) > 1
        prediction = found.pop(level)
        assert prediction.weight == 0.5
        loss = torch.nn.functional.cross_entropy(prediction.logits, prediction.targets, reduction="sum")
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert not found


def test_items_that_share_more_with_the_target_are_to_score_higher(trie: Trie, head: TreeHead) -> None:
    contrast = TreeContrast(trie, head, 0.0, TEMPERATURE, 0.25)
    targets = torch.arange(ITEMS).repeat(20)
    states = torch.randn(len(targets), DIMENSIONS, generator=torch.Generator().manual_seed(0))
    # what an item scores says which item it is
    scores = torch.zeros(len(targets), ITEMS)
    for item, level in itertools.product(range(ITEMS), range(len(SIZES))):
        if (row := int(contrast.rows[item, level])) >= 0:
            scores[:, item] += head.queries(states, level) @ head.vectors[row] + head.biases[row]
    paths = torch.from_numpy(trie.paths)
    torch.manual_seed(0)
    (prediction,) = contrast.predictions(head, states, targets)
    assert prediction.weight == 0.25
    assert not prediction.targets.any()
    found = set()
    place = 0
    for row, target in enumerate(targets.tolist()):
        shared = (paths == paths[target]).sum(dim=1)
        while place < len(prediction.logits):
            closer, further = (
                (scores[row] - logit).abs().argmin() if (scores[row] - logit).abs().min() < 1e-5 else None
                for logit in prediction.logits[place]
            )
            if closer is None or further is None:
                break
            assert shared[closer] > shared[further]
            assert closer != target
            found.add((int(shared[closer]), int(shared[further])))
            place += 1
    assert place == len(prediction.logits) > ITEMS
    assert found == {(1, 0), (2, 0), (2, 1)}


def test_weights_count_in_the_loss(trie: Trie, head: TreeHead) -> None:
    objective = CodeCrossEntropy(CodeCrossEntropySettings(), np.ones(ITEMS, dtype=np.int64))
    targets, states = torch.arange(12), torch.randn(12, DIMENSIONS)
    plain, weighed = (
        objective(TreeContrast(trie, head, weight, TEMPERATURE, 0.0).predictions(head, states, targets), 12)
        for weight in (1.0, 0.1)
    )
    assert float(weighed.detach()) == pytest.approx(0.1 * float(plain.detach()), rel=1e-5)


@pytest.mark.parametrize("one", [[[0]], [[0, 0, 0], [0, 0, 1]], [[0], [1], [2]]])
def test_trees_with_nothing_to_compare(one: list[list[int]]) -> None:
    trie = Trie.of(np.array(one, dtype=np.uint8))
    head = TreeHead(trie, DIMENSIONS, 0.7)
    contrast = TreeContrast(trie, head, 1.0, TEMPERATURE, 1.0)
    assert contrast.predictions(head, torch.randn(len(one), DIMENSIONS), torch.arange(len(one))) == []
