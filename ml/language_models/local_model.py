"""A causal language model in a local folder that is asked for a ranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ml.data.versions import content_name
from ml.language_models.answers import Answer, NoAnswer
from ml.language_models.generator import load_generator, quiet


class LocalModel:
    """A model of a folder, which writes the most probable token at each step.

    A tokenizer with a chat template gets the prompt as a message of the user; any other one gets it as it is.

    Args:
        folder: in the layout of Hugging Face, weights in safetensors.
        device: that it runs on.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no weights in safetensors.
        DamagedFile: what it holds cannot be read.
        MissingExtra: transformers is not installed.
    """

    at_once = 1

    def __init__(self, folder: Path, device: torch.device | None = None) -> None:
        self.folder = folder
        self._generator = load_generator(folder)
        self.model = folder.name
        # by what it holds: a folder may be filled anew
        self.identity = f"folder {content_name(folder)}"
        if device is not None:
            self._generator.move_to(device)

    def answer(self, prompt: str, longest: int) -> Answer:
        """What the model writes.

        Raises:
            NoAnswer: the prompt and the answer are longer than what the model reads.
        """
        tokens = self._tokens(prompt)
        if len(tokens) + longest > self._generator.positions:
            raise NoAnswer(
                f"the model in {self.folder} reads {self._generator.positions} tokens, and a prompt of {len(tokens)} "
                f"with an answer of {longest} is longer: lower candidates, history, title_characters or answer_tokens"
            )
        model: Any = self._generator.model
        asked, end = torch.tensor([tokens], device=model.device), self._generator.tokenizer.eos_token_id
        with torch.no_grad(), quiet():
            found = model.generate(
                input_ids=asked,
                attention_mask=torch.ones_like(asked),
                do_sample=False,
                num_beams=1,
                max_new_tokens=longest,
                pad_token_id=self._generator.end if end is None else end,
            )
        written = found[0, len(tokens) :].tolist()
        text = str(self._generator.tokenizer.decode(written, skip_special_tokens=True))
        return Answer(text, len(tokens), len(written))

    def _tokens(self, prompt: str) -> list[int]:
        tokenizer: Any = self._generator.tokenizer
        if tokenizer.chat_template:
            message = [{"role": "user", "content": prompt}]
            found = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)
            return list(found["input_ids"])
        return list(tokenizer.encode(prompt + "\n"))
