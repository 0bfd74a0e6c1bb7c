"""Dumps of the soak: a made-up dataset that grows night by night, and what can be wrong with its files.

The users of one demo dump are dealt out to files, so that each night brings users that were not there before, in a new
file or in one that is written anew. What is planted in a file is taken out again by writing the file as it was.
"""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ml.demo.dump import write_demo_dump

DATASET = "Soak"
METADATA = f"meta_{DATASET}.json.gz"
FIRST = "night_000.json.gz"
_SOURCE = f'layout = "amazon_2018"\ninteractions = ["night_*.json.gz"]\nmetadata = ["{METADATA}"]\n'


def _gzip(lines: list[bytes]) -> bytes:
    # without a time in its header the bytes depend on the lines alone
    return gzip.compress(b"".join(line + b"\n" for line in lines), compresslevel=6, mtime=0)


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file, without their endings."""
    with gzip.open(path) as file:
        return file.read().split(b"\n")[:-1]


@dataclass
class Dumps:
    """The folder of a dataset, and what is still to come.

    Attributes:
        folder: with its files.
        waiting: lines of reviews that have not arrived yet, one list a user.
        nights: how often it has grown.
        planted: what the files with something wrong in them held before, by path.
    """

    folder: Path
    waiting: list[list[bytes]]
    nights: int = 0
    planted: dict[Path, bytes] = field(default_factory=dict)

    @classmethod
    def begin(cls, folder: Path, users: int, later: int, items: int, seed: int) -> Dumps:
        """Write the first night: so many users; so many more come later."""
        with tempfile.TemporaryDirectory() as scratch:
            dump = write_demo_dump(Path(scratch), users=users + later, items=items, seed=seed)
            reviews, metadata = lines_of(dump.reviews), dump.metadata.read_bytes()
        by_user: dict[object, list[bytes]] = {}
        for number, line in enumerate(reviews):
            by_user.setdefault(_user(line) or number % (users + later), []).append(line)
        people = [lines for _, lines in sorted(by_user.items(), key=lambda one: str(one[0]))]
        random.Random(seed).shuffle(people)
        folder.mkdir(parents=True)
        (folder / METADATA).write_bytes(metadata)
        (folder / "source.toml").write_text(_SOURCE)
        first = [line for lines in people[:users] for line in lines]
        (folder / FIRST).write_bytes(_gzip(first))
        return cls(folder, people[users:])

    @property
    def reviews(self) -> list[Path]:
        """The files of reviews, in the order in which they came."""
        return sorted(self.folder.glob("night_*.json.gz"))

    def grow(self, users: int, in_new_file: bool) -> str:
        """So many more users, in a new file or in the latest one, which is written anew; what was done, in words."""
        self.nights += 1
        arrived, self.waiting = self.waiting[:users], self.waiting[users:]
        lines = [line for some in arrived for line in some]
        path = self.folder / f"night_{self.nights:03d}.json.gz" if in_new_file else self.reviews[-1]
        before = [] if in_new_file else lines_of(path)
        path.write_bytes(_gzip(before + lines))
        return f"{'new' if in_new_file else 'replaced'} {path.name}, {len(lines):+d} rows"

    def plant(self, path: Path, change: Callable[[bytes], bytes]) -> None:
        """Change the bytes of a file."""
        self.planted[path] = path.read_bytes()
        path.write_bytes(change(self.planted[path]))

    def clear(self) -> None:
        """Put every file back that something was planted in."""
        for path, content in self.planted.items():
            path.write_bytes(content)
        self.planted.clear()


def _user(line: bytes) -> str | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    user = row.get("reviewerID") if isinstance(row, dict) else None
    return user if isinstance(user, str) else None


def truncated(content: bytes) -> bytes:
    """A download that was broken off."""
    return content[: len(content) * 6 // 10]


def damaged(content: bytes) -> bytes:
    """Bytes in the middle that the disk or the network has changed."""
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 16]) + content[middle + 16 :]


def empty(content: bytes) -> bytes:
    """Nothing at all."""
    return b""


def cut_lines(content: bytes) -> bytes:
    """Some lines, 2 to 3 of a hundred, that end in their middle."""
    return _every(content, 40, lambda line: line[: len(line) // 2])


def another_rating(content: bytes) -> bytes:
    """A third of the lines with a rating in words, as after a change of the export."""
    return _every(content, 3, lambda line: line.replace(b'"overall": ', b'"overall": "stars", "was": '))


def thinned_out(content: bytes) -> bytes:
    """Two of three lines are gone."""
    return _gzip(gzip.decompress(content).split(b"\n")[:-1][::3])


def _every(content: bytes, step: int, change: Callable[[bytes], bytes]) -> bytes:
    lines = gzip.decompress(content).split(b"\n")[:-1]
    return _gzip([change(line) if number % step == 0 else line for number, line in enumerate(lines)])
