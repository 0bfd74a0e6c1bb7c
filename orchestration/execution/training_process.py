"""One training in a process of its own, which reports to Dagster through Pipes.

``python -m orchestration.execution.training_process``

Starts the training command (``python -m ml.training``, or the same under torchrun), hands what it says of each epoch on
to the log of the run, and reports what was made. It trains nothing itself, so the command may as well run on a host
without Dagster.
"""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml.training.log import FILE, EpochRecord
from ml.training.runtime import DEFAULT_THREADS, NONE
from orchestration.paths import REPOSITORY

_FAILURE = "training failed"
_TOLD_LINES = 20
# what torchrun says at its end of the process that ended first, where a signal ended it
_KILLED = re.compile(r"Root Cause \(first observed failure\):.*?exitcode +: (-\d+)", re.DOTALL)


def command(
    recipe: Path,
    training_set: Path,
    out: Path,
    codes: Path | None,
    teacher_lists: Path | None,
    seed: int,
    fit_on: str,
    exclude_seen: bool,
    device: str,
    precision: str,
    checkpoint_seconds: float,
    threads: int = DEFAULT_THREADS,
    sharding: str = NONE,
    compile: bool = False,
    processes: int = 1,
    item_text: Path | None = None,
    text_vectors: Path | None = None,
    times: Path | None = None,
    start: Path | None = None,
    pretrained: Path | None = None,
) -> list[str]:
    """The command that trains one recipe, ``python -m ml.training`` or the same by torchrun.

    Args:
        recipe: its file.
        training_set: folder of the sequences.
        out: folder of the model, replaced as a whole.
        codes: folder of the code assignment, for a recipe that names one.
        teacher_lists: folder of the teacher lists, for a recipe that names some.
        seed, fit_on, exclude_seen, device, precision, checkpoint_seconds, threads, sharding, compile: options of
            ``python -m ml.training``.
        processes: that share the work; more than one by torchrun.
        item_text: folder of the item text, for a recipe that reads it.
        text_vectors: folder of the vectors of the text, for a recipe that reads them.
        times: folder of the times of interactions, for a recipe that reads them.
        start: folder of a warm start, where one is asked for (:mod:`orchestration.warm_start`).
        pretrained: folder of the weights of other datasets, for a recipe that starts from them.
    """
    python = [sys.executable]
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    options = {
        "--recipe": recipe,
        "--training-set": training_set,
        "--out": out,
        "--codes": codes,
        "--teacher-lists": teacher_lists,
        "--pretrained": pretrained,
        "--item-text": item_text,
        "--text-vectors": text_vectors,
        "--times": times,
        "--start": start,
        "--seed": seed,
        "--fit-on": fit_on,
        "--device": device,
        "--precision": precision,
        "--sharding": None if sharding == NONE else sharding,
        "--checkpoint-seconds": checkpoint_seconds,
        "--threads": threads,
    }
    given = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
    given += ["--exclude-seen"] if exclude_seen else []
    given += ["--compile"] if compile else []
    return [*python, "-m", "ml.training", *given]


def reporting(out: Path, training: Sequence[str]) -> list[str]:
    """The command of this module around one that trains into the folder ``out``."""
    return [sys.executable, "-m", "orchestration.execution.training_process", str(out), *training]


def failure_of(code: int, last_words: str) -> str | None:
    """The failure of a training, from its exit code and last output; ``None`` on success."""
    from orchestration.faults import killed_by

    if code < 0:
        return f"the training {killed_by(code)}"
    if code and (killed := _KILLED.search(last_words)):
        return f"one of the processes of the training {killed_by(int(killed[1]))}, and the others have stopped"
    return (last_words or f"it ended with code {code}") if code else None


def failure_told_by(messages: Sequence[Any]) -> str | None:
    """The failure reported by the training; ``None`` on success."""
    told = [message[_FAILURE] for message in messages if isinstance(message, Mapping) and _FAILURE in message]
    return told[0] if told else None


def main(arguments: list[str]) -> None:
    """Run the command after the first argument, the folder that it is to make, and report."""
    from dagster_pipes import open_dagster_pipes

    from ml.training.summary import facts_of_trained, version_of_trained

    folder, started = Path(arguments[0]), arguments[1:]
    # by default SIGTERM would end this process at once, and leave the training to go on alone; and whoever starts this
    # process may ignore either, which is handed down
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    with open_dagster_pipes() as pipes, tempfile.TemporaryDirectory(prefix="raw2rank-") as log:
        code, last_words = run([*started, "--log-to", log], pipes.log.info, Path(log) / FILE)
        if (failure := failure_of(code, last_words)) is not None:
            pipes.report_custom_message({_FAILURE: failure})
        else:
            pipes.report_asset_materialization(
                metadata=_typed(facts_of_trained(folder)), data_version=version_of_trained(folder)
            )


def _typed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as Pipes takes it: tables with the name of their type, the rest as it is."""
    return {
        name: {"raw_value": value, "type": "json"} if isinstance(value, dict) else value
        for name, value in facts.items()
    }


def run(
    started: list[str],
    tell: Callable[[str], None],
    log: Path | None = None,
    stdin: int | None = None,
    began: Callable[[subprocess.Popen], None] | None = None,
) -> tuple[int, str]:
    """Run a command to its end, passing its error stream on.

    Args:
        started: the command.
        tell: called with a line for each epoch.
        log: the training log that the command writes, a line of JSON an epoch; ``None`` where it writes none.
        stdin: an open file as its standard input; ``None`` for that of this process, which may be the lock of the
            dataset.
        began: called with the process.

    Returns:
        Its exit code; and what it called an error, or else the last that it said.
    """
    last: deque[str] = deque(maxlen=_TOLD_LINES)
    # torchrun ends with a page of its own, behind what the processes said
    errors: list[str] = []
    told = 0
    with subprocess.Popen(
        started, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=REPOSITORY
    ) as process:
        try:
            if began:
                began(process)
            assert process.stderr is not None  # it is a pipe
            # a progress bar ends its lines with a carriage return, which is kept
            for line in io.TextIOWrapper(process.stderr, encoding="utf-8", errors="replace", newline=""):
                sys.stderr.write(line)
                sys.stderr.flush()
                # progress is shown at the end of each epoch, after its line of the log was written
                before, told = told, _tell_epochs(log, told, tell)
                if told == before:
                    last.append(line.strip())
                    errors += [line.strip().removeprefix("error: ")] if line.startswith("error: ") else []
            code = process.wait()
            _tell_epochs(log, told, tell)
        except BaseException:
            process.terminate()
            raise
    words = [line for line in last if line]
    return code, "\n".join(errors[:1] or words)


def _tell_epochs(log: Path | None, told: int, tell: Callable[[str], None]) -> int:
    """Report the new epochs of a training log; returns the number of epochs in it."""
    if log is None or not log.is_file():
        return told
    # the last line may be half written
    records = log.read_bytes().split(b"\n")[told:-1]
    for record in records:
        tell(EpochRecord(**json.loads(record)).in_words())
    return told + len(records)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        # whoever started this process says so
        sys.exit(128 + signal.SIGINT)
