"""One Spark session for all tests: dbt in Spark's own Python, which builds one dataset after the other.

The session is a process that runs this file, reads a job a line and answers with a line. Its tables are small, so it
interprets queries instead of compiling them; what is compiled is tested by runs of the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
ANSWER = "answer: "


class SparkProject:
    """The dbt project on Spark: see the docstring of the module."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._folder = folder
        self._built = 0
        environment = os.environ | {"RAW2RANK_LAKE": "/lake-of-no-dataset", "SPARK_LOCAL_IP": "127.0.0.1"}
        with (folder / "spark.log").open("wb") as log:
            self._process = subprocess.Popen(
                [python, __file__, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env=environment,
            )

    def build(self, lake: Path, variables: dict[str, Any], select: str = "") -> Path:
        """Folder of the tables, ``<schema>.db/<model>/*.parquet``, of all models or of those that are selected.

        Models that are not selected are those of the build before.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._built += 1
        built = self._folder / f"built_{self._built}"
        job = {"lake": str(lake), "variables": variables, "select": select, "built": str(built)}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        # dbt prints to the same place
        line = next((line for line in self._process.stdout if line.startswith(ANSWER)), "")
        assert line, (self._folder / "spark.log").read_text()[-4000:]
        failed = json.loads(line.removeprefix(ANSWER))
        assert not failed, failed
        return built

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _serve(folder: Path) -> None:
    from dbt.cli.main import dbtRunner
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.warehouse.dir": str(folder / "tables"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    # dbt takes the session that is there
    builder.getOrCreate()

    places = ["--target", "spark", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    places += ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs"), "--threads", "2", "--quiet"]
    parsed = dbtRunner().invoke(["parse", *places])
    assert parsed.success, parsed.exception
    for line in sys.stdin:
        job = json.loads(line)
        os.environ["RAW2RANK_LAKE"] = job["lake"]
        select = ["--select", job["select"]] if job["select"] else []
        done = dbtRunner(manifest=parsed.result.deepcopy()).invoke(
            ["run", *places, *select, "--no-write-json", "--vars", json.dumps(job["variables"])]
        )
        failed = [str(done.exception)] if done.exception else []
        with contextlib.suppress(AttributeError):
            failed += [f"{one.node.name}: {one.message}" for one in done.result.results if one.status != "success"]
        if not failed:
            shutil.copytree(folder / "tables", job["built"])
        print(ANSWER + json.dumps(failed), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
