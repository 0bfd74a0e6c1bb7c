"""Beam search beside ``generate`` of Hugging Face transformers with ``prefix_allowed_tokens_fn``, on the same weights.

Where ``generate`` is right, lists and scores are the same. It differs in two ways:

- Prefixes that do not exist get the score -1e9, not ``-inf``. With more beams than items, what remains of them is
  returned: clones of items, and sequences that are no identifiers.
- Which of equal scores is kept is left to `torch.topk`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5ForConditionalGeneration

from ml.codes.trie import Trie
from ml.generation.beam_search import TrieTensors, beam_search
from ml.recommender import NO_ITEM

CODES, LEVELS, USERS = 6, 3, 4
BEGINNING = 0  # of what is generated; also fills
VALUES = np.unique(np.random.default_rng(0).integers(0, CODES, size=(60, LEVELS)), axis=0)
# a code has a token of its own in each level
TOKENS = 1 + np.arange(LEVELS) * CODES + VALUES
HISTORIES = torch.from_numpy(np.random.default_rng(1).integers(1, 1 + CODES * LEVELS, size=(USERS, 7)))


class TokenScorer:
    """Runs a model on every whole prefix; its log-probabilities are over all tokens, as those of ``generate``.

    A subclass says what follows token sequences.
    """

    rows = USERS

    def __init__(self, trie: Trie) -> None:
        self.trie = trie
        self.prefixes = torch.zeros(USERS, 1, 0, dtype=torch.int64)

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        if beams is None:
            self.prefixes = torch.zeros(USERS, 1, 0, dtype=torch.int64)
        else:
            parents = torch.from_numpy(self.trie.parents[level])[children[..., 0]]
            tokens = self.tokens(level - 1, parents)
            kept = self.prefixes.gather(1, beams[..., None].expand(-1, -1, level - 1))
            self.prefixes = torch.cat([kept, tokens[..., None]], dim=2)
        width = self.prefixes.shape[1]
        logits = self.next_logits(self.prefixes.flatten(0, 1), width).view(USERS, width, -1)
        return logits.log_softmax(-1).gather(2, self.tokens(level, children))

    def tokens(self, level: int, nodes: Tensor) -> Tensor:
        return 1 + level * CODES + torch.from_numpy(self.trie.codes[level])[nodes]

    def next_logits(self, prefixes: Tensor, width: int) -> Tensor:
        raise NotImplementedError


class T5Scorer(TokenScorer):
    def __init__(self, trie: Trie, model: T5ForConditionalGeneration) -> None:
        super().__init__(trie)
        self.model = model

    def next_logits(self, prefixes: Tensor, width: int) -> Tensor:
        read = torch.nn.functional.pad(prefixes, (1, 0), value=BEGINNING)
        encoded = self.model.get_encoder()(input_ids=HISTORIES).last_hidden_state.repeat_interleave(width, dim=0)
        output = self.model(encoder_outputs=BaseModelOutput(last_hidden_state=encoded), decoder_input_ids=read)
        return output.logits[:, -1]


class GPT2Scorer(TokenScorer):
    def __init__(self, trie: Trie, model: GPT2LMHeadModel) -> None:
        super().__init__(trie)
        self.model = model

    def next_logits(self, prefixes: Tensor, width: int) -> Tensor:
        return self.model(torch.cat([HISTORIES.repeat_interleave(width, dim=0), prefixes], dim=1)).logits[:, -1]


def t5() -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=1 + CODES * LEVELS,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_decoder_layers=1,
            num_heads=2,
            dropout_rate=0.0,
            pad_token_id=BEGINNING,
            eos_token_id=None,
            decoder_start_token_id=BEGINNING,
        )
    )


def gpt2() -> GPT2LMHeadModel:
    sizes = {"vocab_size": 1 + CODES * LEVELS, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None, pad_token_id=BEGINNING))


def generated(model: T5ForConditionalGeneration | GPT2LMHeadModel, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens ``[users, width, levels]`` and their scores, by ``generate``."""
    followers: dict[tuple[int, ...], set[int]] = {}
    for row in TOKENS.tolist():
        for level in range(LEVELS):
            followers.setdefault(tuple(row[:level]), set()).add(row[level])
    read = 1 if isinstance(model, T5ForConditionalGeneration) else HISTORIES.shape[1]
    output = model.generate(
        HISTORIES,
        attention_mask=torch.ones_like(HISTORIES),
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=LEVELS,
        prefix_allowed_tokens_fn=lambda _, ids: sorted(followers[tuple(ids[read:].tolist())]),
        length_penalty=0.0,  # scores are sums
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    tokens = output.sequences.view(USERS, width, -1)[:, :, read:]
    return tokens.numpy(), output.sequences_scores.view(USERS, width).numpy()


MODELS = pytest.mark.parametrize(("make", "scorer"), [(t5, T5Scorer), (gpt2, GPT2Scorer)])


def model_of(make: type) -> T5ForConditionalGeneration | GPT2LMHeadModel:
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that distributions are far from even
    return model


@MODELS
@pytest.mark.parametrize("width", [2, 4, 10, 50])
def test_lists_and_scores_are_those_of_generate(make: type, scorer: type, width: int) -> None:
    model, trie = model_of(make), Trie.of(VALUES)
    beams = beam_search(scorer(trie, model), TrieTensors.of(trie), width)
    tokens, scores = generated(model, width)
    np.testing.assert_array_equal(TOKENS[beams.items.numpy()], tokens)
    np.testing.assert_allclose(beams.scores, scores, rtol=1e-5, atol=1e-5)


@MODELS
def test_generate_returns_clones_where_there_are_more_beams_than_items(make: type, scorer: type) -> None:
    model, trie = model_of(make), Trie.of(VALUES)
    width = len(VALUES) + 20
    beams = beam_search(scorer(trie, model), TrieTensors.of(trie), width)
    tokens, scores = generated(model, width)
    for user in range(USERS):
        # ours: every item once, then nothing
        assert sorted(beams.items[user, : len(VALUES)].tolist()) == list(range(len(VALUES)))
        assert (beams.items[user, len(VALUES) :] == NO_ITEM).all()
        # theirs: the same items first, then clones of them and worse with a score of about -1e9
        np.testing.assert_array_equal(TOKENS[beams.items[user, : len(VALUES)].numpy()], tokens[user, : len(VALUES)])
        assert (scores[user, len(VALUES) :] < -1e8).all()
        known = {tuple(row) for row in TOKENS.tolist()}
        assert any(tuple(row) in known for row in tokens[user, len(VALUES) :].tolist())
