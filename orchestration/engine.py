"""The engine that dbt cleans with: DuckDB in one process, or Spark, and why Spark cannot be used.

``RAW2RANK_ENGINE`` is ``duckdb``, the default, or ``spark``. Spark needs Java, pyspark and dbt-spark; they may be in an
environment of their own, whose Python ``RAW2RANK_SPARK_PYTHON`` names. ``RAW2RANK_SPARK_MASTER`` is the cluster, and
this machine where it is not set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from orchestration.paths import REPOSITORY

ENGINE = "RAW2RANK_ENGINE"
PYTHON = "RAW2RANK_SPARK_PYTHON"
MASTER = "RAW2RANK_SPARK_MASTER"
ENGINES = ("duckdb", "spark")
# what `make install-spark` makes
_BESIDE = REPOSITORY / ".venv-spark" / "bin" / "python"
_PACKAGES = ("dbt-core", "dbt-spark", "pyspark")
_VERSIONS = f"""
import importlib.metadata, json
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
print(json.dumps({{name: version(name) for name in {_PACKAGES!r}}}))
"""
_SECONDS_TO_CONNECT = 5
# Spark takes paths apart as addresses, and so does the database of its catalogue
_PLAIN_PATH = re.compile(r"[\w./+@=~ -]+")


class EngineError(Exception):
    """The engine cannot be used; the message says what to do."""


def engine() -> str:
    """The engine that the environment names.

    Raises:
        EngineError: it is none of :data:`ENGINES`.
    """
    name = os.environ.get(ENGINE) or ENGINES[0]
    if name not in ENGINES:
        raise EngineError(f"{ENGINE} is {name!r}: it may be {' or '.join(ENGINES)}")
    return name


def spark_python() -> Path:
    """The Python that has pyspark: the one that is named, else that of ``make install-spark``, else this one."""
    named = os.environ.get(PYTHON)
    if named:
        return Path(named).expanduser()
    return _BESIDE if _BESIDE.exists() else Path(sys.executable)


def spark_dbt() -> Path:
    """The dbt beside the Python that has pyspark."""
    return spark_python().with_name("dbt")


def spark_versions() -> dict[str, str]:
    """Versions of what Spark needs by name of the package; empty where a package is not installed.

    Raises:
        EngineError: there is no such Python.
    """
    return dict(_installed(str(spark_python())))


@cache
def _installed(python: str) -> Mapping[str, str]:
    try:
        done = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(
            f"{PYTHON} is {python}, which does not run as Python ({error}): {_INSTALL}, or name another one"
        ) from error
    return json.loads(done.stdout)


_INSTALL = "install Spark's environment by `make install-spark`"


def check_spark(tables: Path) -> None:
    """Look for everything that Spark needs before it is started, which would fail late and in many words.

    Args:
        tables: the folder of its tables.

    Raises:
        EngineError: something is missing, or the cluster cannot be reached.
    """
    missing = [name for name, version in spark_versions().items() if not version]
    if missing or not spark_dbt().is_file():
        raise EngineError(
            f"{ENGINE}=spark needs {' and '.join(missing or ['dbt'])}, and {spark_python()} does not have it: "
            f"{_INSTALL} or pip install 'raw2rank[spark]', or name a Python that has it by {PYTHON}"
        )
    _check_java()
    _check_master(os.environ.get(MASTER, ""))
    if not _PLAIN_PATH.fullmatch(str(tables)):
        raise EngineError(
            f"Spark cannot keep its tables in {tables}: its path may have letters, digits, blanks and ./_+@=~- alone; "
            "name another folder by RAW2RANK_HOME"
        )


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else shutil.which("java")
    try:
        if java is None:
            raise FileNotFoundError("no java is on the PATH")
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(
            f"{ENGINE}=spark needs Java 17 or later, and there is none ({error}): install one, on Debian by apt-get "
            "install openjdk-17-jre-headless, or name its folder by JAVA_HOME"
        ) from error
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if found and int(found[1]) < 17:
        raise EngineError(
            f"{ENGINE}=spark needs Java 17 or later, and {java} is Java {found[1]}: install a later one, or name its "
            "folder by JAVA_HOME"
        )


def _check_master(master: str) -> None:
    """Try to connect to a cluster of Spark's own kind; others are found by Spark itself."""
    if not master.startswith("spark://"):
        return
    errors = []
    # several where one stands in for another
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()
            return
        except (OSError, ValueError, OverflowError) as error:
            errors.append(str(error))
    raise EngineError(
        f"the Spark cluster {master} cannot be reached ({'; '.join(errors)}): start it, or name another by {MASTER}; "
        "without it Spark runs on this machine"
    )
