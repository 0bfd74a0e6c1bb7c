"""Units of Amazon dumps: which reader a file gets, by its layout and by what is in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa

from ml.data.landing.file_lines import LandingError
from ml.data.landing.land import Landed, land
from ml.data.landing.line_files import read_lines
from ml.data.landing.schema import INTERACTIONS_SCHEMA, METADATA_SCHEMA, LineReader, SourceFile, Unit
from ml.data.sources.amazon.v2014 import Metadata2014Lines
from ml.data.sources.amazon.v2018 import MetadataLines, ReviewLines
from ml.data.sources.amazon.v2023 import Metadata2023Lines, Review2023Lines
from ml.data.sources.content import METADATA, NO_JSON, REVIEWS, Content, content_of, refusal
from ml.data.sources.names import dataset_of_metadata, metadata_names, without_compression

# the reviews of 2014 are laid out as those of 2018
_REVIEW_KINDS = {"amazon_2014": "reviews of 2018", "amazon_2018": "reviews of 2018", "amazon_2023": "reviews of 2023"}
_REVIEW_READERS: dict[str, Callable[..., LineReader]] = {
    "amazon_2014": ReviewLines,
    "amazon_2018": ReviewLines,
    "amazon_2023": Review2023Lines,
}
_METADATA_READERS: dict[str, Callable[..., LineReader]] = {
    "amazon_2014": Metadata2014Lines,
    "amazon_2018": MetadataLines,
    "amazon_2023": Metadata2023Lines,
}


def review_unit(file: SourceFile, layout: str, said: bool) -> Unit:
    """The unit of a file of reviews.

    Args:
        file: the file; its first lines are looked at.
        layout: that of its name, or what the user says.
        said: whether the user says so. Otherwise reviews of another release are read as what they are, and the reading
            warns of it.

    Raises:
        LandingError: none of the first lines is a review of the layout, and they are something else.
    """
    content = content_of(file.path)
    warnings: tuple[str, ...] = ()
    if content is not None and _REVIEW_KINDS[layout] not in content.kinds:
        kind = content.kind
        if kind not in REVIEWS or said:
            raise LandingError(refusal(file.path, content, _REVIEW_KINDS[layout]))
        warnings = (
            f"named as {_REVIEW_KINDS[layout]}, but its lines are {kind}, and are read as such; to say so, give "
            f'LAYOUT={REVIEWS[kind]} or layout = "{REVIEWS[kind]}" in source.toml',
        )
        layout = REVIEWS[kind]
    return _unit(file, layout, INTERACTIONS_SCHEMA, _REVIEW_READERS[layout], content, warnings)


def metadata_unit(file: SourceFile, layout: str, template: str | None = None) -> Unit:
    """The unit of a file of metadata, of the release that its first lines are of.

    Args:
        file: the file.
        layout: that of the interactions; with the name of the file it says the release where the lines do not.
        template: of the item text (:mod:`ml.data.sources.item_template`).

    Raises:
        LandingError: its first lines are reviews, or something else.
    """
    content = content_of(file.path)
    if content is None:
        release = "amazon_2014" if layout == "amazon_2014" else "amazon_2018"
        if without_compression(file.name).endswith(".jsonl"):
            release = "amazon_2023"
    else:
        kind = next((kind for kind in content.kinds if kind in METADATA), None)
        if kind is None:
            raise LandingError(refusal(file.path, content, "metadata"))
        release = METADATA[kind]
        # one that holds few fields looks like both
        if release == "amazon_2018" and layout == "amazon_2014":
            release = layout
    options = {} if template is None else {"template": template}
    return _unit(file, release, METADATA_SCHEMA, _METADATA_READERS[release], content, (), **options)


def find_metadata(folder: Path, dataset: str) -> tuple[str, ...]:
    """Names of the metadata of a dataset in a folder.

    The metadata of a whole category is that of its 5-core too.

    Raises:
        LandingError: there are several.
    """
    there = [name for name in metadata_names(dataset) if (folder / name).is_file()]
    own = [name for name in there if dataset_of_metadata(name) == dataset] or there
    if len(own) > 1:
        raise LandingError(
            f"{folder} holds both {' and '.join(own)}; take one of them away, or say which: "
            f'metadata = ["{own[0]}"] in source.toml'
        )
    return tuple(own)


def _unit(
    file: SourceFile,
    layout: str,
    schema: object,
    reader: Callable[..., LineReader],
    content: Content | None,
    warnings: tuple[str, ...] = (),
    **options: str,
) -> Unit:
    keys = content.keys if content is not None and content.kind != NO_JSON else ()
    make_reader = partial(reader, keys=keys, warnings=warnings, **options)
    return Unit((file,), layout, partial(read_lines, make_reader=make_reader, schema=schema))


def land_reviews(files: list[Path], folder: Path, processes: int | None = None) -> Landed:
    """Land reviews in the layout of the 2018 release, a file a unit, named without its folder.

    See :func:`land`, and :mod:`ml.data.sources.amazon.v2018` for what is kept.

    Raises:
        LandingError: as :func:`land`, and where there is no file.
    """
    if not files:
        raise LandingError(f"there is no file of reviews to land in {folder}")
    return land(_units(files, "reviews 2018", ReviewLines, INTERACTIONS_SCHEMA), folder, INTERACTIONS_SCHEMA, processes)


def land_metadata(files: list[Path], folder: Path, processes: int | None = None) -> Landed:
    """Land metadata in the layout of the 2018 release, as :func:`land_reviews`; without files, empty tables."""
    return land(_units(files, "metadata 2018", MetadataLines, METADATA_SCHEMA), folder, METADATA_SCHEMA, processes)


def _units(files: list[Path], layout: str, make_reader: Callable[[], LineReader], schema: pa.Schema) -> list[Unit]:
    read = partial(read_lines, make_reader=make_reader, schema=schema)
    return [Unit((SourceFile(path, path.name),), layout, read) for path in files]
