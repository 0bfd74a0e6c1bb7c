"""Raw dumps, and their landing: files as they were published, then typed rows and rejected lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.code_versions import code_version
from orchestration.condition import observe_dumps, on_new_data
from orchestration.dataset_lock import shared_with_children
from orchestration.execution.staleness import data_versions
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, RegistrationError, Workspace
from orchestration.reporting import (
    DATA_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of,
    materialization,
    parquet_metadata,
)

if TYPE_CHECKING:
    from ml.data.landing.land import Landed
    from ml.data.object_storage.dumps import StoredObject
    from ml.data.sources import NamedSource, Source

ABSENT = "absent"
# the metadata that tells of files that look like data and are not read
NOT_READ = "not read"
KINDS = ("reviews", "metadata")
_CODE = code_version("ml.data.landing.land", "ml.data.sources.recognise")

_RAW_COLUMNS = {
    "reviews": array_schema(
        reviewerID=("string", "who wrote the review"),
        asin=("string", "what was reviewed"),
        overall=("number", "stars, 1 to 5"),
        unixReviewTime=("integer", "day of the review, seconds since 1970"),
        verified=("boolean", "whether the purchase was verified"),
    ),
    "metadata": array_schema(
        asin=("string", "the product"),
        title=("string", "its name; HTML fragments occur"),
        brand=("string", "its brand"),
        main_cat=("string", "its main category"),
        category=("list[string]", "its path in the category tree"),
        price=("string", "an amount, a range, CSS text or nothing"),
        imageURLHighRes=("list[string]", "images; `image` in the other release of the metadata"),
    ),
}


def find_units(paths: DatasetPaths, kind: str) -> tuple[tuple, dict[str, object], tuple[str, ...]]:
    """The files of one kind as units to read, with the options of tables and with notes on files that are not read.

    Files in object storage are fetched. ``LandingError`` where there are no files or it is not clear which.
    """
    from ml.data.sources import find_source, source_of

    if (url := paths.dumps_url) is not None:
        from ml.data.object_storage.dumps import fetch

        with _named_objects(paths) as (named, objects), named_as_given(paths):
            fetch(url, [objects[name] for name in (*named.interactions, *named.metadata)], paths.dumps)
            source = source_of(named, paths.dumps)
    else:
        source = find_source(paths.dumps, paths.dataset, paths.source_description)
    units = {"reviews": source.interactions, "metadata": source.metadata}[kind]
    return units, _said(source, kind), source.notes


def _said(source: "Source | NamedSource", kind: str) -> dict[str, object]:
    """What is said of how files are read."""
    # under another template the same metadata is other text
    template = {"item_text": source.item_text} if kind == "metadata" and source.item_text is not None else {}
    return {**source.options.said(), **template}


@contextmanager
def named_as_given(paths: DatasetPaths) -> Iterator[None]:
    """Name files in messages where the user knows them: in object storage, not in the folder they were fetched into."""
    if (url := paths.dumps_url) is None:
        yield
        return
    from ml.data.object_storage.dumps import named_by_url

    with named_by_url(paths.dumps, url):
        yield


@contextmanager
def _named_objects(paths: DatasetPaths) -> Iterator["tuple[NamedSource, dict[str, StoredObject]]"]:
    """The files of a dataset in object storage by their names, and all objects that lie there; nothing is fetched."""
    from ml.data.object_storage.dumps import objects_below, outlined
    from ml.data.sources import name_source

    url = paths.dumps_url
    assert url is not None, "the dumps lie in object storage"
    objects = objects_below(url)
    with outlined(url, objects) as folder:
        yield name_source(folder, paths.dataset, paths.source_description), objects


def raw_version(paths: DatasetPaths, kind: str) -> tuple[str, dict]:
    """Content version of the raw files of one kind, and what to show of them.

    ``absent`` where there is nothing to read; why, the landing asset says. The way in which a file is read is part
    of its version: the same bytes under another layout are other data. Of files in object storage size and ETag stand
    for the content, which is not read.

    Raises:
        RegistrationError: the registration of the dataset is damaged.
        StorageError: the object storage cannot be read.
    """
    from ml.data.landing.land import LandingError
    from ml.data.object_storage.location import StorageError

    try:
        return (_raw_files if paths.dumps_url is None else _raw_objects)(paths, kind)
    except (RegistrationError, StorageError):
        # it is not known where the files lie or what they are, which is not to say that there are none
        raise
    except LandingError as error:
        return ABSENT, {"files": 0, "note": str(error)}


def _raw_files(paths: DatasetPaths, kind: str) -> tuple[str, dict]:
    from ml.data.files import fingerprint

    units, said, notes = find_units(paths, kind)
    left = {NOT_READ: "\n".join(notes)} if notes else {}
    if not units:
        return ABSENT, {"files": 0, **left}
    files = [file for unit in units for file in unit.files]
    digests = {file.name: fingerprint(file.path, paths.fingerprints) for file in files}
    reading = {"layout": units[0].layout, "columns": {}, **said}
    # the order of the files is part of the content: it orders interactions without a time
    return digest_of({"files": digests, "order": list(digests), **reading})[:32], {
        "files": len(files),
        "layout": units[0].layout,
        "bytes": sum(file.path.stat().st_size for file in files),
        "sha256": digests,
        "dagster/uri": str(paths.dumps),
        **left,
    }


def _raw_objects(paths: DatasetPaths, kind: str) -> tuple[str, dict]:
    with _named_objects(paths) as (named, objects):
        names = {"reviews": named.interactions, "metadata": named.metadata}[kind]
        notes = named.notes(named.layout)
    left = {NOT_READ: "\n".join(notes)} if notes else {}
    if not names:
        return ABSENT, {"files": 0, **left}
    versions = {name: [objects[name].bytes, objects[name].version] for name in names}
    reading = {"layout": named.layout, "columns": {}, **_said(named, kind)}
    return digest_of({"objects": versions, "order": list(names), **reading})[:32], {
        "files": len(names),
        "layout": named.layout,
        "bytes": sum(objects[name].bytes for name in names),
        "etags": {name: objects[name].version for name in names},
        "dagster/uri": paths.dumps_shown,
        **left,
    }


@dg.multi_observable_source_asset(
    name="raw_dumps",
    description="Fingerprint the dump files of a dataset by content.",
    specs=[
        dg.AssetSpec(
            ["raw", kind],
            description=f"The {kind} as they were published or brought, in one of the layouts that are known. Never "
            "changed; their version is the SHA-256 of their bytes.",
            group_name="raw",
            kinds={"json"},
            owners=DATA_OWNERS,
            metadata={"dagster/column_schema": _RAW_COLUMNS[kind]},
            automation_condition=observe_dumps,
        )
        for kind in KINDS
    ],
    partitions_def=datasets,
    can_subset=True,
)
def raw_dumps(context: dg.AssetExecutionContext):
    from ml.data.object_storage.location import StorageError

    paths = Workspace.current().dataset(context.partition_key)
    for key in sorted(context.selected_asset_keys):
        with as_dagster_failure(context.partition_key, RegistrationError, StorageError):
            version, metadata = raw_version(paths, key.path[-1])
        yield dg.ObserveResult(asset_key=key, data_version=dg.DataVersion(version), metadata=metadata)


def dump_versions(dataset: str) -> dict[str, tuple[str, dict]]:
    """Content version of the dumps of a dataset as they lie there, and what to show of them, by kind."""
    paths = Workspace.current().dataset(dataset)
    return {kind: raw_version(paths, kind) for kind in KINDS}


def not_read(dumps: dict[str, tuple[str, dict]]) -> list[str]:
    """What there is to say, in :func:`dump_versions`, of files that are not read."""
    return list(dict.fromkeys(line for _, said in dumps.values() for line in said.get(NOT_READ, "").splitlines()))


def version_by_key(dumps: dict[str, tuple[str, dict]]) -> dict[dg.AssetKey, str]:
    """Content versions of :func:`dump_versions` by the keys of their assets."""
    return {dg.AssetKey(["raw", kind]): version for kind, (version, _) in dumps.items()}


def changed_dumps(
    instance: dg.DagsterInstance, dataset: str, versions: dict[str, tuple[str, dict]]
) -> list[dg.AssetObservation]:
    """Observations of the dumps whose content is not the one that was last recorded; none of them is recorded here."""
    keys = {kind: dg.AssetKey(["raw", kind]) for kind in versions}
    recorded = data_versions(instance, dataset, keys.values())
    return [
        dg.AssetObservation(
            asset_key=keys[kind], partition=dataset, metadata=metadata, tags={"dagster/data_version": version}
        )
        for kind, (version, metadata) in versions.items()
        if recorded.get(keys[kind]) != version
    ]


def observe(instance: dg.DagsterInstance, dataset: str) -> list[str]:
    """Fingerprint the dumps of a dataset now, outside a run, and record what changed.

    Returns:
        What there is to say of files that are not read.
    """
    dumps = dump_versions(dataset)
    for observation in changed_dumps(instance, dataset, dumps):
        instance.report_runless_asset_event(observation)
    return not_read(dumps)


def _landing_asset(kind: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["landing", kind],
        deps=[["raw", kind]],
        description=f"The {kind} dump, read once: a typed row for each good line (`rows`), every other line with file, "
        "line number, byte offset, reason and its bytes (`rejects`), and the count of both for each file (`files`).",
        group_name="landing",
        kinds={"python", "parquet"},
        owners=DATA_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=_CODE,
    )
    def landing(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from ml.data.landing import land as library

        paths = Workspace.current().dataset(context.partition_key)
        folder = paths.asset("landing", kind)
        schema = {"reviews": library.INTERACTIONS_SCHEMA, "metadata": library.METADATA_SCHEMA}[kind]
        with as_dagster_failure(context.partition_key, library.LandingError), shared_with_children(paths):
            units, _, notes = find_units(paths, kind)
            # said once, with the interactions
            notes = notes if kind == "reviews" else ()
            with named_as_given(paths):
                counts = library.land(
                    units, folder, schema, fingerprints=paths.fingerprints, code_version=_CODE, notes=notes
                )
        context.log.info(_sentence(kind, counts))
        for note in notes:
            context.log.warning(note)
        return materialization(
            library.content_digest(folder),
            {
                **parquet_metadata(folder / "rows"),
                "lines_read": counts.lines_read,
                "rows_rejected": counts.rows_rejected,
                "files_read": counts.files_read,
                **({NOT_READ: "\n".join(notes)} if notes else {}),
            },
        )

    return landing


def _sentence(kind: str, counts: "Landed") -> str:
    """Landed rows per file, and reasons for rejected lines."""
    files = "; ".join(
        f"{file.source_file}: {file.lines_read:,} lines, {file.rows_kept:,} rows, {file.rows_rejected:,} rejected"
        for file in counts.files
    )
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in counts.rejects_by_reason.items())
    return f"Landed {kind}. {files or 'There are no files'}." + (f" Rejected for: {reasons}." if reasons else "")


landing_assets = [_landing_asset(kind) for kind in KINDS]
