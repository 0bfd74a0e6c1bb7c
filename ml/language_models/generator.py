"""Causal language models: from a local folder, or with fresh weights and a tokenizer trained on the titles.

Nothing is downloaded and no code is run that comes with a model: models are opened with ``local_files_only`` and
without ``trust_remote_code``, and weights are read from safetensors alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.data.files import whole
from ml.extras import require
from ml.language_models.recipe import GeneratorSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# the token of fresh tokenizers that stands between titles, and before the first one
END = "<end>"


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and warnings of transformers within it."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@dataclass
class Generator:
    """A causal language model with its tokenizer.

    Attributes:
        model: in evaluation mode, float32.
        tokenizer: of the model.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def end(self) -> int:
        """The token that ends a title: a line end where the tokenizer has a token of its own for it, else the end of
        text."""
        newline = self.tokenizer.encode("\n", add_special_tokens=False)
        if len(newline) == 1 and self.tokenizer.decode(newline) == "\n":
            return newline[0]
        return int(self.tokenizer.eos_token_id)

    @property
    def start(self) -> int:
        """The token before the first title."""
        first = self.tokenizer.bos_token_id
        return self.end if first is None else int(first)

    @property
    def positions(self) -> int:
        """So many tokens the model can read."""
        return int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)

    @property
    def parameters(self) -> int:
        return sum(each.numel() for each in self.model.parameters())

    def move_to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        moved: torch.nn.Module = self.model
        moved.to(device)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer into an existing folder, in the layout of Hugging Face."""
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def fresh_generator(settings: GeneratorSettings, titles: Sequence[str], positions: int) -> Generator:
    """A GPT-2 with fresh weights, drawn from torch's generator, and byte pairs trained on some titles.

    Args:
        settings: sizes.
        titles: that the tokenizer is trained on.
        positions: tokens that the model is to read.
    """
    require("llm", "a language model", ("transformers",))
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = train_tokenizer(titles, settings.vocabulary)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=positions,
        n_embd=settings.dimensions,
        n_layer=settings.layers,
        n_head=settings.heads,
        resid_pdrop=settings.dropout,
        embd_pdrop=settings.dropout,
        attn_pdrop=settings.dropout,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Generator(GPT2LMHeadModel(config).eval(), tokenizer)


def train_tokenizer(titles: Sequence[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """Byte pairs of lower-cased titles (Sennrich et al., 2016, on bytes as GPT-2's), with the token ``<end>``."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(titles, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END)


def load_generator(folder: Path) -> Generator:
    """A model and its tokenizer from a local folder.

    Raises:
        MissingExtra: transformers is not installed.
        FileNotFoundError: the folder does not exist, or holds no weights in safetensors.
        DamagedFile: what it holds cannot be read.
    """
    require("llm", "a language model", ("transformers",))
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} holds no language model: there is no such folder")
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(
            f"{folder} holds no language model with weights in safetensors: convert them with "
            "model.save_pretrained(folder, safe_serialization=True)"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with whole(folder), quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **local)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    return Generator(model.eval(), tokenizer)


def with_low_rank_additions(generator: Generator, rank: int, alpha: float) -> Generator:
    """The same model whose attention has low-rank additions, which alone are trained (Hu et al., "LoRA", ICLR 2022).

    Raises:
        MissingExtra: peft is not installed.
    """
    require("llm", 'finetuning.method = "lora"', ("transformers", "peft"))
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, task_type="CAUSAL_LM")
    return Generator(get_peft_model(generator.model, settings), generator.tokenizer)


def with_additions_merged(generator: Generator) -> Generator:
    """The model with the low-rank additions of :func:`with_low_rank_additions` added to its own weights, so that it
    is saved and loaded as any other."""
    merged: Any = generator.model
    return Generator(merged.merge_and_unload(), generator.tokenizer)
