"""``python -m tests.inputs`` writes the page."""

from .page import PAGE, page

PAGE.write_text(page(), encoding="utf-8")
