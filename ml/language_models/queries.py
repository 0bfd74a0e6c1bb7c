"""Queries: what a language model writes after the titles of a history, by beam search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ml.language_models.generator import Generator, quiet

# prompts that are answered together, times the queries of each
_BEAMS_AT_ONCE = 256


@dataclass(frozen=True)
class Query:
    """A text that a model wrote in answer to a prompt.

    Attributes:
        text: without the token that ends it.
        probability: among the queries for the same prompt, which add up to 1.
    """

    text: str
    probability: float


def write_queries(
    generator: Generator, prompts: Sequence[Sequence[int]], queries: int, longest: int
) -> list[tuple[Query, ...]]:
    """The most probable continuations of each prompt, by a beam search as wide as there are to be queries.

    A continuation is compared by its probability, without a correction for its length, and ends with the token that
    ends a title. Prompts of one length are answered together, so that none is padded; equal prompts are answered once.

    Args:
        generator: in evaluation mode.
        prompts: tokens; an empty one has no queries.
        queries: for each prompt.
        longest: tokens of a query, at most.

    Returns:
        The queries of each prompt, the most probable first.
    """
    by_length: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for prompt in dict.fromkeys(map(tuple, prompts)):
        by_length[len(prompt)].append(prompt)
    by_length.pop(0, None)
    written: dict[tuple[int, ...], tuple[Query, ...]] = {(): ()}
    at_once = max(1, _BEAMS_AT_ONCE // queries)
    for length in sorted(by_length):
        same = by_length[length]
        for start in range(0, len(same), at_once):
            batch = same[start : start + at_once]
            written |= zip(batch, _search(generator, batch, queries, longest), strict=True)
    return [written[tuple(prompt)] for prompt in prompts]


@torch.no_grad()
def _search(
    generator: Generator, prompts: list[tuple[int, ...]], queries: int, longest: int
) -> list[tuple[Query, ...]]:
    """Queries of prompts that have one length."""
    model: Any = generator.model
    tokens = torch.tensor(prompts, device=model.device)
    with quiet():
        found = model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            num_beams=queries,
            num_return_sequences=queries,
            do_sample=False,
            length_penalty=0.0,
            early_stopping=False,
            # the end is not the first
            min_new_tokens=1,
            max_new_tokens=longest + 1,
            bos_token_id=generator.start,
            eos_token_id=generator.end,
            pad_token_id=generator.end,
            return_dict_in_generate=True,
            output_scores=True,
        )
    texts = [_text(generator, row[len(prompts[0]) :][:longest]) for row in found.sequences.tolist()]
    # without a beam there is one query, whose probability is 1
    scores = found.sequences_scores.double().cpu().numpy() if queries > 1 else np.zeros(len(prompts))
    scores = scores.reshape(len(prompts), queries)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return [
        tuple(Query(text, float(share)) for text, share in zip(texts[start : start + queries], row, strict=True))
        for start, row in zip(range(0, len(texts), queries), shares, strict=True)
    ]


def _text(generator: Generator, tokens: list[int]) -> str:
    if generator.end in tokens:
        tokens = tokens[: tokens.index(generator.end)]
    return " ".join(str(generator.tokenizer.decode(tokens, skip_special_tokens=True)).split())
