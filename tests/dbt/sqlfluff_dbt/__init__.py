"""What sqlfluff renders the dbt project with, beside its own ``ref``, ``source`` and ``config``.

``pyproject.toml`` names this folder as ``library_path``: every name here is a variable of the templates. The values of
``var`` are the defaults of the project, so that the project's own macros accept them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import yaml

_PROJECT = Path(__file__).resolve().parents[3] / "dbt_project" / "dbt_project.yml"
_VARS: dict[str, Any] = yaml.safe_load(_PROJECT.read_text(encoding="utf-8"))["vars"]

# as in dbt, which has them in every template
modules = SimpleNamespace(re=re, datetime=datetime)
execute = False


def var(name: str) -> Any:
    return _VARS[name]


@jinja2.pass_context
def _dispatch(context: jinja2.runtime.Context, name: str) -> Callable[..., Any]:
    """The macro for DuckDB, whose SQL sqlfluff checks."""
    return context.resolve(f"default__{name}")


adapter = SimpleNamespace(dispatch=_dispatch)
