"""Asking a language model many questions: each once, several at a time, and within a budget of tokens."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ml.language_models.answers import Answer, Client, KeptAnswers, digest_of_question

# tokens that the form of a chat may add to a prompt
_OVERHEAD = 64


@dataclass
class Asker:
    """Asks a model, and keeps what it answers.

    Questions are counted against the budget in the order in which they are given, whether they are answered by the
    model or by the cache: what is asked depends neither on how many are asked at a time nor on what was asked before
    an interruption. A question is asked if the most tokens that it can take are still left; behind the first one for
    which they are not, no new question is asked.

    Args:
        client: the model.
        kept: answers that were given before.
        budget: tokens read and written, at most; 0 for no limit.
        longest: tokens of an answer, at most.

    Attributes:
        spent: tokens of all questions so far, each counted once.
        stopped: whether the budget is spent.
    """

    client: Client
    kept: KeptAnswers
    budget: int
    longest: int
    spent: int = 0
    stopped: bool = False
    _answered: dict[str, Answer] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, prompts: Sequence[str]) -> list[Answer | None]:
        """The answer to each prompt; ``None`` behind the budget.

        Raises:
            NoAnswer: the model does not answer. What it answered before is kept, and asking again continues there.
        """
        with self._lock:
            return self._ask(prompts)

    def _ask(self, prompts: Sequence[str]) -> list[Answer | None]:
        digests = [digest_of_question(self.client, prompt, self.longest) for prompt in prompts]
        running: dict[Future[Answer], tuple[str, int]] = {}

        def collect(some: bool) -> None:
            """Take what is done, waiting for one at least if ``some``."""
            if not running:
                return
            done, _ = wait(running, None if some else 0, FIRST_COMPLETED)
            for future in done:
                digest, _ = running.pop(future)
                self._count(digest, future.result())

        def fits(most: int) -> bool:
            return not self.budget or self.spent + sum(bound for _, bound in running.values()) + most <= self.budget

        with ThreadPoolExecutor(self.client.at_once) as pool:
            try:
                for digest, prompt in zip(digests, prompts, strict=True):
                    if self.stopped:
                        break
                    if digest in self._answered or digest in (asked for asked, _ in running.values()):
                        continue
                    known, most = self.kept.get(digest), most_tokens(prompt, self.longest)
                    while running and (not fits(most) or len(running) >= self.client.at_once):
                        collect(some=True)
                    if not fits(most):
                        self.stopped = True
                    elif known is not None:
                        self._count(digest, known)
                    else:
                        running[pool.submit(self._of_client, digest, prompt)] = (digest, most)
                while running:
                    collect(some=True)
            finally:
                # an error ends the asking; what is on its way is still kept by its thread
                for future in running:
                    future.cancel()
        return [self._answered.get(digest) for digest in digests]

    def _of_client(self, digest: str, prompt: str) -> Answer:
        return self.kept.keep(digest, self.client.answer(prompt, self.longest))

    def _count(self, digest: str, answer: Answer) -> None:
        self._answered[digest] = answer
        self.spent += answer.tokens


def most_tokens(prompt: str, longest: int) -> int:
    """The most tokens that a question can take: a token of a prompt has at least one byte."""
    return len(prompt.encode()) + _OVERHEAD + longest
