"""Names of files, by dataset and layout: plain, or compressed with gzip or zstd."""

from __future__ import annotations

COMPRESSIONS = (".gz", "", ".zst")
METADATA_PREFIX = "meta_"
REVIEWS_PREFIX = "reviews_"
CORE = "_5"

# names of the interactions of a dataset without what says how they are compressed, by layout
_PLAIN_NAMES = {
    "amazon_2018": ("{}.json", "{}_5.json"),
    "amazon_2014": ("reviews_{}.json", "reviews_{}_5.json"),
    "amazon_2023": ("{}.jsonl",),
    "table": ("{}.inter", "{}.csv", "{}.tsv"),
    "sequence": ("{}.txt",),
}
_NOT_COMPRESSED = {"table": ("{}.parquet",)}
_JSON_ENDINGS = ("jsonl", "json", "ndjson")
_METADATA_NAMES = ("meta_{}.json", "meta_{}.jsonl")


def without_compression(name: str) -> str:
    """A name without the ending that says how the file is compressed."""
    for ending in COMPRESSIONS:
        if ending and name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def interaction_names(dataset: str) -> list[tuple[str, str]]:
    """Layout and name of each file that would be taken for the interactions of a dataset."""
    return [
        (layout, pattern.format(dataset) + compression)
        for layout, patterns in _PLAIN_NAMES.items()
        for patterns, compressions in ((patterns, COMPRESSIONS), (_NOT_COMPRESSED.get(layout, ()), ("",)))
        for pattern in patterns
        for compression in compressions
        if not (layout == "amazon_2018" and dataset.startswith(REVIEWS_PREFIX))
    ]


def json_names(dataset: str) -> list[str]:
    """The names that the JSON lines of a dataset may have, where the source says that they are some."""
    return [f"{dataset}.{ending}{compression}" for ending in _JSON_ENDINGS for compression in COMPRESSIONS]


def metadata_names(dataset: str) -> list[str]:
    """The names that the metadata of a dataset may have; of a 5-core, those of the whole category come last."""
    whole = dataset.removesuffix(CORE)
    return [
        pattern.format(one) + compression
        for one in dict.fromkeys((dataset, whole))
        for pattern in _METADATA_NAMES
        for compression in COMPRESSIONS
    ]


def dataset_of_metadata(name: str) -> str:
    """Name of the dataset that a file of metadata goes by: ``Toys`` of ``meta_Toys.json.gz``."""
    return without_compression(name).removeprefix(METADATA_PREFIX).rpartition(".")[0]


def looked_for(dataset: str, layout: str | None = None) -> str:
    """The file names that are recognised, for one layout or all, in words."""
    names = [f"{dataset}.{ending}" for ending in _JSON_ENDINGS if layout == "json_lines"]
    for one, patterns in _PLAIN_NAMES.items():
        if layout in (None, one):
            # most dumps are published with gzip
            ending = ".gz" if one.startswith("amazon") else ""
            names += [pattern.format(dataset) + ending for pattern in patterns]
            names += [pattern.format(dataset) for pattern in _NOT_COMPRESSED.get(one, ())]
    return f"{', '.join(names)} (text may be plain, or compressed as .gz or .zst)"


def dataset_of(file_name: str) -> str | None:
    """The dataset of which a file holds interactions, by its name."""
    if file_name.startswith(METADATA_PREFIX):
        return None
    name = without_compression(file_name)
    stem, _, ending = name.rpartition(".")
    if not stem:
        return None
    if ending == "json":
        return stem.removeprefix(REVIEWS_PREFIX).removesuffix(CORE)
    if ending in ("jsonl", "inter", "csv", "tsv", "txt") or (ending == "parquet" and name == file_name):
        return stem
    return None
