"""What Dagster works out anew each time, and a test process, which opens hundreds of instances, once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory


def remember() -> None:
    """Let the migrations of Dagster's databases and the schemas of its resources be read once."""
    # of Dagster, which takes a second to import
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
