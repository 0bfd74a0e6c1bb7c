"""The syntax tree of Python source, for what reads modules and expressions without running them."""

from __future__ import annotations

import ast
import gc
from typing import Any


def parse(source: str | bytes, path: str = "<unknown>", mode: str = "exec") -> Any:
    """The syntax tree, as :func:`ast.parse` gives it, built without garbage collection in between.

    Before Python 3.11.8 ``ast.parse`` raises SystemError where a finaliser parses meanwhile, as one that formats a
    traceback does, or lets another thread do so (python/cpython#106905).

    Args:
        source: of a module or, with ``mode="eval"``, of an expression.
        path: of the file, for messages.
        mode: ``exec`` or ``eval``.

    Raises:
        SyntaxError: where the source is not Python.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source, path, mode)
    finally:
        if collects:
            gc.enable()
