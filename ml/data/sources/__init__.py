"""Sources of interactions: which files a dataset is made of, and how they are read into the same rows.

A layout is recognised by the names of the files, or given (:class:`SourceDescription`):

- ``amazon_2018``: ``<dataset>.json`` or ``<dataset>_5.json``;
- ``amazon_2014``: ``reviews_<dataset>.json`` or ``reviews_<dataset>_5.json``;
- ``amazon_2023``: ``<dataset>.jsonl``;
- ``table``: ``<dataset>.inter``, ``.csv``, ``.tsv`` or ``.parquet``;
- ``json_lines``: named in ``source.toml``;
- ``sequence``: ``<dataset>.txt``;
- ``given_split``: five files in the folders ``train``, ``val`` and ``test``.

All but Parquet may be compressed with gzip (``.gz``) or zstd (``.zst``). What is known of items comes from
``meta_<dataset>.json`` or ``meta_<dataset>.jsonl`` beside any of these. Where the first lines of JSON are
of another release than the name, they count.
"""

from ml.data.sources.description import LAYOUTS, SourceDescription
from ml.data.sources.recognise import NamedSource, Source, datasets_in, find_source, name_source, source_of

__all__ = [
    "LAYOUTS",
    "NamedSource",
    "Source",
    "SourceDescription",
    "datasets_in",
    "find_source",
    "name_source",
    "source_of",
]
