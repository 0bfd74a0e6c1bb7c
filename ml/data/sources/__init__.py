"""Sources of interactions: which files a dataset is made of, and how they are read into the same rows.

A layout is recognised by the names of the files, or given (:class:`SourceDescription`):

- ``amazon_2018``: ``<dataset>.json.gz`` or ``<dataset>_5.json.gz``;
- ``amazon_2014``: ``reviews_<dataset>.json.gz`` or ``reviews_<dataset>_5.json.gz``;
- ``amazon_2023``: ``<dataset>.jsonl.gz``;
- ``table``: ``<dataset>.inter``, ``.csv`` or ``.tsv``, each also with ``.gz``, or ``<dataset>.parquet``;
- ``sequence``: ``<dataset>.txt``, also with ``.gz``;
- ``given_split``: five files in the folders ``train``, ``val`` and ``test``.

What is known of items comes from ``meta_<dataset>.json.gz`` or ``meta_<dataset>.jsonl.gz`` beside any of these.
"""

from ml.data.sources.description import LAYOUTS, SourceDescription
from ml.data.sources.recognise import Source, datasets_in, find_source

__all__ = ["LAYOUTS", "Source", "SourceDescription", "datasets_in", "find_source"]
