"""All inputs, in the order of the page."""

from __future__ import annotations

from .doubts import DOUBTS
from .entry import Input
from .files import FILES
from .json_dumps import JSON_DUMPS
from .named_sets import NAMED_SETS
from .parquet_files import PARQUET_FILES
from .sequences import SEQUENCES
from .tables import TABLES
from .times import TIMES

INPUTS: tuple[Input, ...] = (*TABLES, *TIMES, *FILES, *PARQUET_FILES, *SEQUENCES, *JSON_DUMPS, *DOUBTS, *NAMED_SETS)
