"""The templates of the pages, and how texts are put into them."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

from ml.reports.render.text import visible

TEMPLATES = Path(__file__).parent / "templates"


class _Compiled(BytecodeCache):
    """Keeps templates compiled for the next page of this process, by the digest of their text."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        known = self._kept.get(f"{bucket.key} {bucket.checksum}")
        if known is not None:
            bucket.bytecode_from_string(known)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[f"{bucket.key} {bucket.checksum}"] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


def environment() -> Environment:
    """An environment that escapes every text, and shows control characters as what they are."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
        keep_trailing_newline=True,
        bytecode_cache=_COMPILED,
    )
    made.filters.update(breakable=_breakable, sentence=_sentence)
    return made


def _breakable(name: str) -> Markup:
    """A name, escaped, that may be broken after an underscore or a slash."""
    return Markup(re.sub(r"([_/])", r"\1<wbr>", str(escape(visible(name)))))


def _sentence(text: str) -> str:
    """With a capital letter, as a heading; what is no plain word (``nDCG@10``, ``p``) stays."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if len(first) > 1 and first.isalpha() and first.islower() else text


def _visible(value: object) -> object:
    """What Jinja prints of an expression, before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value
