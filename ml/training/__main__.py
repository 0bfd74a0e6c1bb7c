"""Train a recipe from a shell: ``python -m ml.training --recipe NAME --training-set FOLDER --out FOLDER``.

Needs torch, numpy and safetensors alone, so that a GPU host needs nothing else; and pyarrow, for recipes of students,
which read teacher lists, and for recipes that read item text, with scikit-learn for the vectors of the text. Under
``torchrun`` each batch of the recipe is cut among the processes::

    torchrun --nproc-per-node 2 -m ml.training --recipe NAME --training-set FOLDER --out FOLDER --device cuda
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ml.codes.codes import Codes
from ml.data.teacher_lists import TeacherLists, is_teacher_lists
from ml.data.times import load_times
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.training.devices import choose_device
from ml.training.distributed import WorkerLostError, joined
from ml.training.loop import DivergedError
from ml.training.pretrained import DESCRIPTION, Pretrained
from ml.training.recipe import load_recipe
from ml.training.runtime import DEFAULT_THREADS, DEVICES, NONE, PRECISIONS, SHARDINGS
from ml.training.train import train
from ml.training.warm_start import load_start

_FAILED, _INTERRUPTED, _TERMINATED = 1, 130, 143


class _ToldToStop(BaseException):
    """SIGTERM, in one of several processes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments say; the exit code. The last line on standard output is the result as JSON."""
    options = _parser().parse_args(arguments)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        signal.signal(signal.SIGTERM, _stop)
    try:
        with joined(choose_device(options.device)) as world:
            result = train(
                load_recipe(options.recipe),
                _with_times(
                    _training_set(options.training_set, options.item_text, options.text_vectors), options.times
                ),
                options.out,
                options.seed,
                None if options.codes is None else _codes(options.codes),
                progress=not options.quiet,
                teacher_lists=None if options.teacher_lists is None else _teacher_lists(options.teacher_lists),
                pretrained=None if options.pretrained is None else _pretrained(options.pretrained),
                start=None if options.start is None else load_start(options.start),
                threads=options.threads,
                fit_on=options.fit_on,
                validate_with_seen_excluded=options.exclude_seen,
                device=options.device,
                precision=options.precision,
                sharding=options.sharding,
                compile=options.compile,
                checkpoint_seconds=options.checkpoint_seconds,
                tensorboard=options.tensorboard,
                log_to=options.log_to,
            )
            if world.is_first:
                print(json.dumps(asdict(result) | {"folder": str(result.folder)}), flush=True)
    except (ValueError, OSError, ModuleNotFoundError, DivergedError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return _FAILED
    except WorkerLostError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return _FAILED
    except _ToldToStop:
        print(
            "stopped: this process was told to stop, as torchrun tells all that are left when one of a training has "
            "ended: see what that one said, then give the same command again, which goes on from the last checkpoint",
            file=sys.stderr,
        )
        return _TERMINATED
    except KeyboardInterrupt:
        print("stopped: the same command again goes on from the last checkpoint", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise _ToldToStop


def _training_set(folder: Path, item_text: Path | None, text_vectors: Path | None) -> TrainingSet:
    if not (folder / "training_set.json").is_file():
        raise ValueError(f"{folder} holds no training set (training_set.json): give the folder that one was saved in")
    training_set = TrainingSet.load(folder)
    if item_text is None:
        if text_vectors is not None:
            raise ValueError("--text-vectors goes with --item-text, whose texts the vectors are of")
        return training_set
    # these need pyarrow, which no other training does
    from ml.data.item_text import load_item_text

    training_set = training_set.with_text(load_item_text(item_text, training_set.item_ids))
    if text_vectors is not None:
        from ml.text.vectors import load_text_vectors

        training_set = load_text_vectors(text_vectors, training_set)
    return training_set


def _with_times(training_set: TrainingSet, folder: Path | None) -> TrainingSet:
    return training_set if folder is None else load_times(folder, training_set)


def _codes(folder: Path) -> Codes:
    if not (folder / "codes.json").is_file():
        raise ValueError(f"{folder} holds no codes (codes.json): give the folder that they were saved in")
    return Codes.load(folder)


def _teacher_lists(folder: Path) -> TeacherLists:
    if not is_teacher_lists(folder):
        raise ValueError(f"{folder} holds no teacher lists (teacher_lists.json): give the folder they were saved in")
    return TeacherLists.load(folder)


def _pretrained(folder: Path) -> Pretrained:
    if not (folder / DESCRIPTION).is_file():
        raise ValueError(f"{folder} holds no pre-trained weights ({DESCRIPTION}): give the folder they were saved in")
    return Pretrained.load(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ml.training",
        description="Train a recipe. Killed at any moment, the same command goes on from the last checkpoint.",
    )
    add = parser.add_argument
    add("--recipe", required=True, help="name of a recipe that ships with the library, or path of a .toml file")
    add("--training-set", required=True, type=Path, metavar="FOLDER", help="that a training set was saved in")
    add("--out", required=True, type=Path, metavar="FOLDER", help="for the trained model; replaced as a whole")
    add("--codes", type=Path, metavar="FOLDER", help="that codes were saved in, for recipes that name some")
    add("--teacher-lists", type=Path, metavar="FOLDER", help="that teacher lists were saved in, for students")
    add("--pretrained", type=Path, metavar="FOLDER", help="of weights, for recipes pre-trained on other datasets")
    add("--start", type=Path, metavar="FOLDER", help="of a warm start, that ml.training.warm_start saved one in")
    add("--item-text", type=Path, metavar="FOLDER", help="that item text was saved in, for recipes that read it")
    add("--text-vectors", type=Path, metavar="FOLDER", help="that its vectors were saved in; computed otherwise")
    add("--times", type=Path, metavar="FOLDER", help="that times were saved in, for recipes that read them")
    add("--seed", type=int, default=0, help="of everything random (default: 0)")
    add(
        "--fit-on",
        choices=(FIT_ON_TRAIN, FIT_ON_BOTH),
        default=FIT_ON_TRAIN,
        help="what the final weights are fitted on",
    )
    add("--exclude-seen", action="store_true", help="rank validation users without the items of their histories")
    add("--threads", type=int, default=DEFAULT_THREADS, help=f"of torch (default: {DEFAULT_THREADS})")
    add("--device", choices=DEVICES, default="cpu", help="auto: a GPU where there is one (default: cpu)")
    add("--precision", choices=PRECISIONS, default="float32", help="of the products of training steps")
    add(
        "--sharding",
        choices=SHARDINGS,
        default=NONE,
        help="full: each process holds a part of the weights and of the optimiser's state (default: none)",
    )
    add("--compile", action="store_true", help="fuse the model by torch.compile; pays on a GPU")
    add("--checkpoint-seconds", type=float, default=60.0, metavar="SECONDS", help="between checkpoints (default: 60)")
    add("--tensorboard", action="store_true", help="write event files into the model's folder too")
    add(
        "--log-to", type=Path, metavar="FOLDER", help="for the log while it grows, TensorBoard's too if it is installed"
    )
    add("--quiet", action="store_true", help="show no progress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
