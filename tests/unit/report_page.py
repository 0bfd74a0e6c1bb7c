"""Text that would do harm if it were markup, and a reader of pages."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = (
    "</title></style></td></script><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\" onmouseover='alert(3)' `<a href=javascript:alert(4)>` [x](javascript:alert(5)) {{ 7 * 7 }} {% raw %} "
    "| & &lt; $a$ https://example.org \u202e\x00\u200b"
)
VOID = {"meta", "wbr", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Elements of a page in order, with what the tests ask of them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.parents: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.parents.append(tuple(self.open))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.parents.append(tuple(self.open))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} is closed in order"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]
