"""What libraries work out anew at each call, and a test process, which calls them hundreds of times, once."""

from __future__ import annotations

import sys
from copy import copy
from functools import cache
from operator import is_not
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory


def remember() -> None:
    """Called once all test modules are imported; a library that none of them imports stays as it is."""
    if "dagster" in sys.modules:
        remember_dagster()
    if "threadpoolctl" in sys.modules:
        remember_native_libraries()
    if "orchestration.contracts.results" in sys.modules:
        remember_great_expectations()


def remember_native_libraries() -> None:
    """Let the numerical libraries whose threads are limited be looked for again where a module has come."""
    from threadpoolctl import ThreadpoolController

    found: dict[int, list] = {}
    load = ThreadpoolController._load_libraries

    def known(self: ThreadpoolController) -> None:
        modules = len(sys.modules)
        if modules not in found:
            load(self)
            found[modules] = self.lib_controllers
        self.lib_controllers = list(found[modules])

    ThreadpoolController._load_libraries = known


def remember_great_expectations() -> None:
    """Let the configuration of an expectation be made once, as long as its fields stay the same objects.

    It is asked for hundreds of times in each validation, and made by pydantic of all fields. Great Expectations is
    imported where something is validated first, and not before.
    """
    from orchestration.contracts import results

    context = results._context

    @cache
    def with_configurations_remembered() -> Any:
        from great_expectations.expectations.expectation import Expectation

        make = Expectation.configuration.fget
        known: dict[int, tuple[Any, tuple, Any]] = {}

        def configuration(self: Any) -> Any:
            fields = tuple(vars(self).values())
            # the expectation is held, so that its id is of no other one
            found = known.get(id(self))
            if found is None or len(found[1]) != len(fields) or any(map(is_not, found[1], fields)):
                found = known[id(self)] = self, fields, make(self)
            made = copy(found[2])
            made.kwargs = dict(made.kwargs)
            return made

        Expectation.configuration = property(configuration)
        return context()

    results._context = with_configurations_remembered


def remember_dagster() -> None:
    """Let the migrations of Dagster's databases and the schemas of its resources be read once."""
    from alembic.script import ScriptDirectory
    from dagster._config.pythonic_config import resource

    directories: dict[str | None, ScriptDirectory] = {}
    from_config = ScriptDirectory.from_config

    def migrations(config: Config) -> ScriptDirectory:
        # a hundred Python files, whenever a database is opened
        place = config.get_main_option("script_location")
        if place not in directories:
            directories[place] = from_config(config)
        return directories[place]

    infer = resource.infer_schema_from_config_class
    known = cache(infer)

    def schema(kind: type, fields_to_omit: set[str], default: Any = None) -> Any:
        # of every setting, whenever a step is given the settings
        if default is not None:
            return infer(kind, fields_to_omit=fields_to_omit, default=default)
        return known(kind, fields_to_omit=frozenset(fields_to_omit))

    ScriptDirectory.from_config = migrations  # type: ignore[method-assign]
    resource.infer_schema_from_config_class = schema  # type: ignore[assignment]
