"""The templates of the pages, and how texts are put into them."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ml.reports.render.text import visible

TEMPLATES = Path(__file__).parent / "templates"


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
