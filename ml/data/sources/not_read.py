"""Files in the folder of a dataset that look like its data and are not read, in sentences with what to do.

The files of a dataset go by its name, so that one under another name would be passed over in silence. Nothing is said
of what is no data (a README, a download that is under way), of another dataset in the same folder, and of files beside
those that the user has named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ml.data.sources.description import FILE_NAME
from ml.data.sources.names import METADATA_PREFIX, REVIEWS_PREFIX, dataset_of, dataset_of_metadata, without_compression
from ml.data.sources.patterns import is_file_or_parts

_INTERACTIONS, _METADATA = "interactions", "metadata"
_META = re.compile(r"(?:^|[_\-. ])meta(?:data)?(?:$|[_\-. ])")
_JSON = ("json", "jsonl", "ndjson")
_DATA = (*_JSON, "csv", "tsv", "parquet", "inter", "txt")
# what published datasets have beside their data, by the name without its endings
_KNOWN = re.compile(
    r"readme|licen[cs]e|notice|citation|changelog|manifest|croissant|dataset_infos?|(?:md5|sha\d*|check)_?sums?"
)
# hidden files, and those that programs write beside an open one
_PASSED_OVER = (".", "_", "~")
_SHOWN = 3


def not_read(
    folder: Path,
    dataset: str,
    layout: str,
    read: Mapping[str, Sequence[str]],
    named: Collection[str],
    datasets: Callable[[Path], Iterable[str]],
) -> tuple[str, ...]:
    """What the user should know of files that are not read, a sentence each.

    Args:
        folder: where the files lie. One that is called as the dataset holds nothing else; in another, files that could
            be of other datasets are theirs.
        dataset: name of the dataset.
        layout: of its interactions.
        read: names of the files that are read, of its ``interactions`` and of its ``metadata``.
        named: which of the two kinds of files the user or the layout names, so that others are left out knowingly.
        datasets: names of the datasets whose interactions are in a folder.
    """
    lying = _lying(folder, dataset, read, datasets)
    like_metadata = [name for name in lying if _looks_like_metadata(name)]
    others = [name for name in lying if name not in like_metadata]
    sentences: list[str] = []
    if _INTERACTIONS not in named:
        form = _ending(read[_INTERACTIONS][0])
        sentences += _beside([name for name in others if _ending(name) == form], _INTERACTIONS, read, layout, dataset)
        sentences += _of_another_form([name for name in others if _ending(name) != form], read, dataset)
    if _METADATA not in named:
        second = [name for name in like_metadata if read[_METADATA] and _ending(name) in _JSON]
        sentences += _beside(second, _METADATA, read, layout, dataset)
        sentences += [_like_metadata(name, dataset) for name in like_metadata if name not in second]
    return tuple(sentences)


def _lying(
    folder: Path, dataset: str, read: Mapping[str, Sequence[str]], datasets: Callable[[Path], Iterable[str]]
) -> list[str]:
    """Names of the files that look like data of the dataset and are not read, sorted."""
    names_read = [name for names in read.values() for name in names]
    # of a folder of parts, the parts are read
    known = {*names_read, *(name.partition("/")[0] for name in names_read)}
    names = [path.name for path in folder.iterdir() if path.name not in known and _looks_like_data(path.name)]
    names = sorted(name for name in names if is_file_or_parts(folder, name))
    if names and folder.resolve().name != dataset:
        others = set(datasets(folder)) - {dataset}
        names = [name for name in names if not _is_of(name, others) and _could_be_of(name, dataset, read)]
    # notes are text as well as histories are
    return [
        name
        for name in names
        if _ending(name) != "txt" or dataset.lower() in name.lower() or _looks_like_metadata(name)
    ]


def _could_be_of(name: str, dataset: str, read: Mapping[str, Sequence[str]]) -> bool:
    """Whether a file in a folder of several datasets may be meant for one of them."""
    if not read[_METADATA] and _looks_like_metadata(name):
        return True
    return name.removeprefix(METADATA_PREFIX).removeprefix(REVIEWS_PREFIX).startswith(dataset)


def _is_of(name: str, others: Collection[str]) -> bool:
    """Whether a file goes by one of some other datasets. Orders_metadata.csv goes by no dataset of that name."""
    if name.startswith(METADATA_PREFIX):
        return dataset_of_metadata(name) in others
    return not _looks_like_metadata(name) and dataset_of(name) in others


def _looks_like_data(name: str) -> bool:
    stem = without_compression(name).partition(".")[0].lower()
    return _ending(name) in _DATA and not name.startswith(_PASSED_OVER) and _KNOWN.fullmatch(stem) is None


def _looks_like_metadata(name: str) -> bool:
    stem = without_compression(name).lower().rpartition(".")[0]
    return _META.search(stem) is not None and _ending(name) != "inter"


def _ending(name: str) -> str:
    return without_compression(name).rpartition(".")[2].lower()


def _beside(names: list[str], kind: str, read: Mapping[str, Sequence[str]], layout: str, dataset: str) -> list[str]:
    """The sentence on files that could be read with those that are read."""
    if not names:
        return []
    them = "it" if len(names) == 1 else "them"
    quoted = ", ".join(f'"{name}"' for name in (*read[kind][:_SHOWN], *names[:_SHOWN]))
    instead = "; to read it instead, give it that name" if len(names) == len(read[kind]) == 1 else ""
    more = ", ..." if max(len(read[kind]), len(names)) > _SHOWN else ""
    return [
        f"{_are_not_read(names, kind, read, dataset)}; to read {them} too, say "
        f'layout = "{layout}" and {kind} = [{quoted}{more}] in {FILE_NAME}{instead}; otherwise take {them} out of the '
        "folder"
    ]


def _of_another_form(names: list[str], read: Mapping[str, Sequence[str]], dataset: str) -> list[str]:
    """The sentence on files whose interactions could only be read instead of those that are read."""
    if not names:
        return []
    one = len(names) == 1
    return [
        f"{_are_not_read(names, _INTERACTIONS, read, dataset)}, and all of them are read in one layout; to read "
        f"{'it' if one else 'one of them'} instead, take {_several(read[_INTERACTIONS])} away and name it after the "
        f"dataset; otherwise take {'it' if one else 'them'} out of the folder"
    ]


def _like_metadata(name: str, dataset: str) -> str:
    """The sentence on a file that looks like metadata and cannot be read as it is."""
    looks = f"{name} looks like metadata, and is not read"
    if _ending(name) in (*_JSON, "txt"):
        return f'{looks}: name it meta_{dataset} with its ending, or say metadata = ["{name}"] in {FILE_NAME}'
    return (
        f"{looks}, since metadata is JSON lines: write each row of it as an object with asin, title, brand and price, "
        f'for instance with pandas: to_json("meta_{dataset}.jsonl", orient="records", lines=True)'
    )


def _are_not_read(names: Sequence[str], kind: str, read: Mapping[str, Sequence[str]], dataset: str) -> str:
    are = "is" if len(names) == 1 else "are"
    those = "is" if kind == _METADATA else "are"
    return f"{_several(names)} {are} not read, since the {kind} of {dataset} {those} in {_several(read[kind])}"


def _several(names: Sequence[str]) -> str:
    """The first names in words."""
    if len(names) > _SHOWN:
        return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
