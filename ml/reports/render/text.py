"""Text that may come from a dump, made visible and harmless."""

from __future__ import annotations

import re
import unicodedata

_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
# what makes a heading, a list or a rule of the line that it begins
_OPENING = re.compile(r"^(?:([#+=-])|(\d+)([.)])(?= |$))")
# What Markdown viewers make a link of on their own, and where a character of no width stops them.
_LINKED = re.compile(r"(?i)\b(www)(?=\.)|(?<=[a-z0-9+.-])(:)(?=//)|(?<=[\w.+-])(@)(?=[\w-]+\.)")
_NO_WIDTH = "\u200b"


def visible(text: str) -> str:
    """Text with control characters, and those that reorder or hide text, written as escapes."""
    if text.isprintable():
        return text
    return "".join(_visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    if character in "\t\n\r":
        return " "
    hidden = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    # the zero-width joiner makes one sign of several in many scripts
    if unicodedata.category(character) in hidden and character != "\u200d":
        return character.encode("unicode_escape").decode()
    return character


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it as it is: no markup, no HTML, no link, one line."""
    text = re.sub(" +", " ", visible(text)).strip()
    text = _LINKED.sub(lambda found: found[0] + _NO_WIDTH, text)
    text = _MARKUP.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return _OPENING.sub(lambda found: f"{found[2] or ''}\\{found[1] or found[3]}", text)
