"""The file of a dataset, ``datasets/<name>.toml``: where its dumps lie, how they are laid out, and its settings.

People edit it, so whatever is written here leaves their comments, their order and their settings as they are, and an
error names the line. Before there was this file, dumps were registered in ``datasets/<name>.json``, which is still read
and is replaced by the TOML file at the next registration.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml.config import nearest
from ml.data.landing.file_lines import LandingError

FILES = ("dumps", "layout", "source")
SETTINGS_TABLE = "settings"
_EXAMPLES = {"dumps": "landing/Beauty", "layout": "table", "source": "source.toml"}
_NEW_FILE = """\
# Where the files of {dataset} lie, and its settings. Edit this file as you like: make run, make check-data, the UI, the
# schedule and the sensors read it. Options and the launchpad override it for one run. docs/options.md has all settings.

[settings]
# k_core = 5
"""


class RegistrationError(LandingError):
    """The file of a dataset cannot be used; the message names it, the line where that is known, and the remedy."""


def read_dataset_file(path: Path, dataset: str) -> dict[str, Any]:
    """What the file of a dataset says: any of ``dumps``, ``layout``, ``source`` and the table ``settings``.

    Args:
        path: the TOML file; where there is none, the JSON file beside it is read.
        dataset: its name.

    Returns:
        The values, empty where there is neither file. The settings are as they were written.

    Raises:
        RegistrationError: a file is damaged, or holds what is not understood.
    """
    if not path.exists():
        return _read_json(path.with_suffix(".json"), dataset)
    try:
        text = path.read_text(encoding="utf-8")
        known = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RegistrationError(
            f"{path} is not a TOML file ({error}): correct it, or remove it and name the folder of the files again by "
            f"make run DATASET={dataset} DUMPS=<folder>"
        ) from error
    for key, value in known.items():
        if key not in (*FILES, SETTINGS_TABLE):
            raise RegistrationError(
                f"{place(path, key)}: there is no key {key}{nearest(key, (*FILES, SETTINGS_TABLE))}; there are "
                f"{', '.join(FILES)} and the table [{SETTINGS_TABLE}], which settings stand below"
            )
        if key == SETTINGS_TABLE and not isinstance(value, dict):
            raise RegistrationError(f"{place(path, key)}: {key} must be a table: write [{key}] on a line of its own")
        if key in FILES and not (isinstance(value, str) and value):
            example = f'{key} = "{_EXAMPLES[key]}"'
            raise RegistrationError(f"{place(path, key)}: {key} must be a text in quotes, as in {example}")
    return known


def _read_json(path: Path, dataset: str) -> dict[str, Any]:
    if not path.exists():
        return {}

    def damaged(what: str) -> RegistrationError:
        return RegistrationError(
            f"{path}, which says where the files of {dataset} lie, is damaged ({what}): name the folder again by "
            f"make run DATASET={dataset} DUMPS=<folder>, which writes it again"
        )

    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(f"it is not JSON: {error}") from error
    if not isinstance(known, dict) or not known.get("dumps"):
        raise damaged("it does not name the folder of the dumps")
    wrong = [name for name in FILES if not isinstance(known.get(name, ""), str)]
    if wrong:
        raise damaged(f"{wrong[0]} is not a text")
    return {name: known[name] for name in FILES if known.get(name)}


def write_dataset_file(path: Path, dataset: str, files: Mapping[str, str | None]) -> None:
    """Write down where the files of a dataset lie; everything else in the file stays as it is.

    The file is replaced as a whole; then the JSON file of an earlier version is removed.

    Args:
        path: the TOML file.
        dataset: its name.
        files: values of ``dumps``, ``layout`` and ``source``; ``None`` takes a key out.

    Raises:
        RegistrationError: the present file is no TOML, or a path cannot be written as text.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from ml.data.files import atomic_file

    try:
        text = path.read_text(encoding="utf-8") if path.exists() else _NEW_FILE.format(dataset=dataset)
        document = tomlkit.parse(text)
    except (UnicodeDecodeError, TOMLKitError, RecursionError) as error:
        raise RegistrationError(
            f"{path} is not a TOML file ({error}): correct it, or remove it, with the settings in it, and repeat the "
            "command"
        ) from error
    for name, value in files.items():
        if value:
            document[name] = value
        else:
            document.pop(name, None)
    try:
        written = tomlkit.dumps(document).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RegistrationError(
            f"{dataset}: the path {error.object[error.start - 20 if error.start > 20 else 0 : error.end]!a} is not "
            "text in UTF-8: rename the folder"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(written)
    path.with_suffix(".json").unlink(missing_ok=True)


def place(path: Path, key: str, table: str = "") -> str:
    """The file and, where it can be seen, the line that holds a key: ``Beauty.toml, line 3``."""
    name = rf"[\"']?{re.escape(key)}[\"']?"
    inside = ""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return str(path)
    for number, line in enumerate(lines, 1):
        if header := re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line):
            inside = header[1]
            if not table and inside == key:
                return f"{path}, line {number}"
        dotted = table and not inside and re.match(rf"\s*{table}\s*\.\s*{name}\s*=", line)
        if dotted or (inside == table and re.match(rf"\s*{name}\s*[=.]", line)):
            return f"{path}, line {number}"
    return str(path)
