"""Reading options: one way for make, the console and the settings to understand a value or to refuse it.

Make passes every variable that it was given as ``--name=value``; nothing is decided there.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin

from ml.config import nearest
from ml.data.object_storage.location import Location, masked
from ml.data.setting_names import notice
from orchestration.called_as import as_called
from orchestration.exits import EXIT_FAILED

ON = ("1", "true", "yes", "on")
OFF = ("0", "false", "no", "off")
# alone on the command line: print the names of the options, for the completion of shells
LIST_OPTIONS = "--list-options"


def _option(name: str) -> str:
    """A field as an option: ``--k-core`` for ``k_core``."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """The name of an option or a field as make writes it: ``K_CORE`` for ``--k-core`` and ``k_core``."""
    return name.lstrip("-").replace("-", "_").upper()


def switch(text: str) -> bool:
    """A switch, in upper or lower case.

    Raises:
        ValueError: naming what is understood.
    """
    word = text.strip().lower()
    if word in ON:
        return True
    if word in OFF:
        return False
    raise ValueError(f"say {', '.join(ON)} or {', '.join(OFF)}")


def whole_number(text: str) -> int:
    """An integer in plain digits; ``1_000``, ``1,000`` and ``5.0`` are refused.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError("give a whole number in plain digits, as in 1000")
    return int(text)


def number(text: str) -> float:
    """A finite number with a decimal point.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) or not math.isfinite(float(text)):
        raise ValueError("give a number in plain digits, as in 3.5")
    return float(text)


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def path(text: str) -> Path:
    """The path of a file or folder.

    Raises:
        ValueError: it is empty, which would be the current folder.
    """
    return Path(not_empty(text))


def not_empty(text: str) -> str:
    """A text that says something: a variable that nobody has set is no choice.

    Raises:
        ValueError: it is empty.
    """
    if not text.strip():
        raise ValueError("give a value, or leave the option out")
    return text


def folder_or_url(text: str) -> Path | Location:
    """The path of a folder, or a place in object storage.

    Raises:
        ValueError: it is empty, or a URL that cannot be used.
    """
    return Location.of(text) or path(text)


def shown_default(value: Any) -> str:
    """The default of a setting as an option would be given it; ``none`` for an empty one."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value in ("", []) else f"{value:g}" if isinstance(value, float) else str(value)


def kind_of(annotation: Any) -> Any:
    """The type of a field apart from ``None``."""
    if get_origin(annotation) in (Union, UnionType):
        return next(kind for kind in get_args(annotation) if kind is not NoneType)
    return annotation


def reader(annotation: Any) -> Callable[[str], Any]:
    """The parser for the text of an option.

    Its errors are ``ValueError`` and say what is possible, without the value itself.
    """
    kind = kind_of(annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):

        def choice(text: str) -> Enum:
            values = [member.value for member in kind]
            if text.strip().lower() not in values:
                raise ValueError(f"choose one of {', '.join(values)}{nearest(text, values)}")
            return kind(text.strip().lower())

        return choice
    if get_origin(kind) is list:
        return names
    return {bool: switch, int: whole_number, float: number}.get(kind, str.strip)


def as_type(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader as ``type=`` of an argparse option, whose message says what is possible."""

    def read_argument(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"={masked(text)} is not possible: {error}") from error

    return read_argument


class _Help(argparse.HelpFormatter):
    """Adds the default of an option to its help, where there is one and the help does not name it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        named = action.default in (None, False, "", argparse.SUPPRESS) or "efault" in (action.help or "")
        return action.help if named else f"{action.help or ''} (default: %(default)s)".lstrip()


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and names what it knows.

    Options may be written as make writes them: ``--K_CORE=5`` and ``K_CORE=5`` are ``--k-core=5``. Errors name the
    variable of make, end with ``exit_code`` and print no usage.

    Args:
        exit_code: of a command that is given what is not possible.
        renamed: new names of options by their old ones, as fields (``min_rating``). Old ones are understood, with a
            notice on the error stream, and listed nowhere.
        keywords: for ``argparse.ArgumentParser``.
    """

    def __init__(self, exit_code: int = EXIT_FAILED, renamed: Mapping[str, str] | None = None, **keywords: Any) -> None:
        self.exit_code = exit_code
        self.renamed = {_option(old): _option(new) for old, new in (renamed or {}).items()}
        keywords["prog"] = as_called(keywords.get("prog") or "")
        # of a docstring, without its markup
        keywords["description"] = re.sub(r"(:\w+:)?`+", "", as_called(keywords.get("description") or ""))
        super().__init__(allow_abbrev=False, usage="%(prog)s [--option=value ...]", formatter_class=_Help, **keywords)

    def group(self, title: str) -> argparse._ArgumentGroup:
        """The group of that title, made on first use; ``--help`` lists groups in the order in which they were made."""
        known = {group.title: group for group in self._action_groups}
        return known.get(title) or self.add_argument_group(title)

    def add_switch(self, name: str, does: str) -> None:
        """An option that may stand alone (on) or have a value."""
        self.add_argument(name, nargs="?", const=True, default=False, type=as_type(switch), help=does)

    def add_waiting(self) -> None:
        """``--wait=no`` and ``--no-wait``, which are the same."""
        does = "fail where another process works on the dataset"
        self.add_argument("--no-wait", nargs="?", const=True, default=False, type=as_type(switch), help=does)
        self.add_argument(
            "--wait",
            dest="no_wait",
            metavar="WAIT",
            type=as_type(lambda text: not switch(text)),
            help="whether to wait where another process works on the dataset",
        )

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if given == [LIST_OPTIONS]:
            print("\n".join(sorted(option for option in self._option_string_actions if option.startswith("--"))))
            self.exit()
        plain = self._by_new_names([_plain(argument) for argument in given])
        named = Counter(argument.partition("=")[0] for argument in plain if argument.startswith("--"))
        if repeated := [option for option, count in named.items() if count > 1]:
            self.error(f"{variable(repeated[0])} is given {named[repeated[0]]} times; give it once")
        chosen, unknown = self.parse_known_args(plain)
        if unknown:
            first = unknown[0].split("=")[0]
            known = [option for option in self._option_string_actions if option.startswith("--")]
            if not first.startswith("--"):
                self.error(f"{unknown[0]!r} belongs to no option; put a value with blanks into quotes")
            self.error(
                f"there is no option {variable(first)}{nearest(variable(first), map(variable, known))}; "
                f"{self.prog} knows {', '.join(sorted({variable(option) for option in known}))}"
            )
        return chosen

    def _by_new_names(self, arguments: list[str]) -> list[str]:
        """The arguments with the present names of options; one that is given by both names stays once."""
        values: dict[str, str | None] = {}
        for place, argument in enumerate(arguments):
            name, equals, value = argument.partition("=")
            following = arguments[place + 1] if place + 1 < len(arguments) else None
            values[name] = value if equals else following
        renamed = []
        for argument in arguments:
            name, equals, value = argument.partition("=")
            new = self.renamed.get(name)
            if new is None:
                renamed.append(argument)
                continue
            print(f"notice: {notice(variable(name), variable(new))}", file=sys.stderr, flush=True)
            if new not in values:
                renamed.append(f"{new}{equals}{value}")
            elif not equals or values[name] != values[new]:
                self.error(
                    f"{variable(name)}={values[name]} and {variable(new)}={values[new]} are the same option: give "
                    f"{variable(new)} alone"
                )
        return renamed

    def error(self, message: str) -> NoReturn:
        found = re.match(r"argument (?:-\w/)?(--[\w-]+)[^:]*: (.*)", message, re.DOTALL)
        if found:
            separator = "" if found[2].startswith("=") else ": "
            message = f"{variable(found[1])}{separator}{found[2]}"
        self.exit(self.exit_code, as_called(f"error: {message}\n"))


def _plain(argument: str) -> str:
    """An option as argparse knows it; what is no option stays as it is."""
    if re.match("[A-Z][A-Z_]*=", argument):
        argument = f"--{argument}"
    name, equals, value = argument.partition("=")
    return f"{name.lower().replace('_', '-')}{equals}{value}" if name.startswith("--") else argument
