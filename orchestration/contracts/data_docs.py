"""The Data Docs of a dataset: pages of Great Expectations, one a contract, below an index of every check.

The pages of Great Expectations fetch their styles, their scripts and a picture from the network, and link to pages
of a whole site. Here these are taken out, and a small style sheet and what is known of each rule are put in, so that
the pages can be read offline and from an archive.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# nothing is fetched and no script runs, whatever the data holds
_ALLOWED = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
_STYLES = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .8rem 0; width: 100%; }
td, th { padding: .3rem .6rem; border: 1px solid #8886; text-align: left; vertical-align: top; }
td:last-child { overflow-wrap: anywhere; }
.number { text-align: right; }
.badge { padding: 0 .3rem; border: 1px solid #8886; border-radius: .3rem; }
.failed, .text-danger { color: #c62828; } .warned, .text-warning { color: #b26a00; }
.passed, .text-success { color: #2e7d32; }
.fa-check-circle::before { content: "\\2714"; } .fa-times::before { content: "\\2716"; }
.fa-exclamation-triangle::before { content: "\\26a0"; }
td:last-child { min-width: 12rem; }
button, .col-lg-2 { display: none; }
"""
_LEFT_OUT = (
    re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<link\b[^>]*>", re.IGNORECASE),
    re.compile(r"<nav\b.*?</nav>\s*</div>\s*</nav>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<img\b[^>]*>", re.IGNORECASE),
    re.compile(r"<footer\b.*?</footer>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<style\b.*?</style>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<title>.*?</title>", re.DOTALL | re.IGNORECASE),
    re.compile(r"</?a\b[^>]*>", re.IGNORECASE),
)


def write_data_docs(
    folder: Path, title: str, results: Path, names: Iterable[str], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> Path:
    """Write the pages, in place of what the folder held before.

    Args:
        folder: where to; made anew.
        title: heading of the index.
        results: folder with a result of Great Expectations as JSON for each contract, ``<layer>/<name>.json``.
        names: the contracts to show, ``layer/name``; those without a result are left out.
        header: of the table of the index.
        rows: of that table, as text; the first cell names the contract, whose page shows its rows as well.

    Returns:
        The index.
    """
    from ml.data.files import atomic_folder

    with atomic_folder(folder) as temporary:
        links = []
        for name in names:
            path = results / f"{name}.json"
            if not path.exists():
                continue
            page = temporary / f"{name}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            own = _table(header, [row for row in rows if row[0] == name])
            page.write_text(_page(json.loads(path.read_text()), name, own), encoding="utf-8")
            links.append(f'<li><a href="{html.escape(name)}.html">{html.escape(name)}</a></li>')
        broken = [row for row in rows if {"failed", "warned"} & set(row)]
        body = f"<h1>{html.escape(title)}</h1>\n"
        body += f"<h2>What is not kept</h2>\n{_table(header, broken)}" if broken else "<p>Every rule is kept.</p>\n"
        body += f"<h2>Every rule</h2>\n{_table(header, rows)}<h2>Contracts</h2>\n"
        (temporary / "index.html").write_text(
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width">{_ALLOWED}'
            f"<title>{html.escape(title)}</title>"
            f"<style>{_STYLES}</style></head>\n<body>\n{body}<ul>{''.join(links)}</ul>\n</body></html>\n",
            encoding="utf-8",
        )
    return folder / "index.html"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(header, "th"), *(_row(row, "td") for row in rows)]
    return f"<table>\n{''.join(lines)}</table>\n"


def _row(cells: Sequence[str], tag: str) -> str:
    shown = (
        f'<{tag} class="{cell.lower()}">{html.escape(cell)}</{tag}>'
        if cell.lower() in ("passed", "failed", "warned")
        else f"<{tag}>{html.escape(cell)}</{tag}>"
        for cell in cells
    )
    return f"<tr>{''.join(shown)}</tr>\n"


def _page(result: dict, name: str, table: str) -> str:
    """One validation result as Great Expectations renders it, below a table of its rules."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import
    from great_expectations.core import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    # the tables of sampled values are rendered as they are, and a title of the data may be markup
    for entry in result["results"]:
        entry["result"] = _escaped(entry["result"])
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(
        expectationSuiteValidationResultSchema.load(result)
    )
    text = DefaultJinjaPageView().render(document)
    for pattern in _LEFT_OUT:
        text = pattern.sub("", text)
    back = "../" * name.count("/") + "index.html"
    top = f'<p><a href="{back}">All checks</a></p>\n<h1>{html.escape(name)}</h1>\n{table}'
    # a function: a backslash in a finding is no reference to a group
    text = re.sub(r"<body[^>]*>", lambda found: found.group() + top, text, count=1)
    return text.replace("</head>", f"{_ALLOWED}<title>{html.escape(name)}</title><style>{_STYLES}</style></head>", 1)


def _escaped(value: Any) -> Any:
    """A JSON value with markup in its strings made harmless."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, list):
        return [_escaped(entry) for entry in value]
    return {name: _escaped(entry) for name, entry in value.items()} if isinstance(value, dict) else value
