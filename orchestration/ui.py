"""``make ui``: the Dagster UI on 127.0.0.1, on the definitions and the storage of ``make run``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HOST = "127.0.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make ui", description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    chosen = parser.parse_args()
    from orchestration.paths import REPOSITORY, Workspace
    from orchestration.run import _instance

    workspace = Workspace.current()
    # its storage is made here, once: the processes that Dagster starts would do so all at the same time
    _instance(workspace).dispose()
    dagster = str(Path(sys.executable).with_name("dagster"))
    command = [dagster, "dev", "-m", "orchestration.definitions", "-h", HOST, "-p", str(chosen.port)]
    os.chdir(REPOSITORY)
    print(f"raw2rank: http://{HOST}:{chosen.port} (workspace {workspace.home})", flush=True)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(workspace.dagster_home),
        "RAW2RANK_HOME": str(workspace.home),
        # steps started from the UI find dbt beside this Python
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    os.execvpe(dagster, command, environment)


if __name__ == "__main__":
    main()
