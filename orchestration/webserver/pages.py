"""The report pages, Data Docs and decisions on releases of a workspace, served read-only next to the UI.

A browser refuses a link to a file from a page that came by http, so what the UI links to has to come by http as well.
The pages hold what the dumps hold: they are served without the right to run scripts.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from orchestration.paths import DATA_DOCS, DATASET_NAME, RELEASES, REPORTS, Workspace

_FIRST_PAGE = {REPORTS: "report.html", DATA_DOCS: "index.html", RELEASES: "decision.html"}
_MADE_BY = {REPORTS: "make run", DATA_DOCS: "make check-data", RELEASES: "make run"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline' 'self'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'; sandbox allow-same-origin allow-downloads allow-popups "
        "allow-top-navigation-by-user-activation"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


def folder_of(workspace: Workspace, kind: str, dataset: str) -> Path:
    """The folder that is served."""
    paths = workspace.dataset(dataset)
    return {REPORTS: paths.report.parent, DATA_DOCS: paths.data_docs, RELEASES: paths.decision_page.parent}[kind]


def find_page(folder: Path, name: str) -> Path | None:
    """The file of a name below a folder; ``None`` where there is none, or it leads out of the folder."""
    if "\x00" in name:
        return None
    root = os.path.realpath(folder)
    found = os.path.realpath(os.path.join(root, name))
    inside = os.path.commonpath([root, found]) == root
    return Path(found) if inside and os.path.isfile(found) else None


def routes(workspace: Workspace) -> list[Route]:
    """Routes for the pages of all datasets: ``/reports/<dataset>/...``, ``/data-docs/<dataset>/...`` and
    ``/releases/<dataset>/...``."""
    return [route for kind in _FIRST_PAGE for route in _routes(workspace, kind)]


def _routes(workspace: Workspace, kind: str) -> list[Route]:
    async def page(request: Request) -> Response:
        dataset, name = request.path_params["dataset"], request.path_params.get("name", "")
        if not DATASET_NAME.fullmatch(dataset):
            return _missing(f"{dataset} is no name of a dataset.")
        if not name:
            return RedirectResponse(f"/{kind}/{dataset}/{_FIRST_PAGE[kind]}", headers=_HEADERS)
        found = await run_in_threadpool(_find, workspace, kind, dataset, name)
        if found is None:
            return _missing(f"There is no {kind}/{dataset}/{name}. {_MADE_BY[kind]} DATASET={dataset} writes it.")
        kept = _TYPES.get(found.suffix.lower())
        headers = _HEADERS if kept else {**_HEADERS, "Content-Disposition": "attachment"}
        return FileResponse(found, media_type=kept or "application/octet-stream", headers=headers)

    return [Route(f"/{kind}/{{dataset}}", page), Route(f"/{kind}/{{dataset}}/{{name:path}}", page)]


def _find(workspace: Workspace, kind: str, dataset: str, name: str) -> Path | None:
    try:
        return find_page(folder_of(workspace, kind, dataset), name)
    except (OSError, ValueError):
        # a name that is too long, or a dataset that is none
        return None


def _missing(text: str) -> Response:
    page = f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>raw2rank</title><p>{escape(text)}</p></html>"
    return HTMLResponse(page, status_code=404, headers=_HEADERS)
