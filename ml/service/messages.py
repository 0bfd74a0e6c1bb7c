"""Requests and answers of the service, as they stand in its OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

ItemId = str


def _without_fraction(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# JSON has one kind of number: 5.0 is the whole number 5
Seconds = Annotated[int, BeforeValidator(_without_fraction)]
Length = Annotated[int, Field(ge=1), BeforeValidator(_without_fraction)]


class Asked(BaseModel):
    """What ``POST /recommendations`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    histories: list[list[ItemId]] = Field(
        description="Item ids of each user, oldest first. An empty history is answered with the most popular items.",
        examples=[[["B000FI4S1E", "B0009RF9DW"]]],
    )
    k: Length | None = Field(None, description="Length of the lists; 10, or the whole catalogue, where not given.")
    exclude_seen: bool | None = Field(
        None, description="Whether lists leave out the items of their history; as the release says where not given."
    )
    allowed: list[ItemId] | None = Field(None, description="The only items that may be recommended; all if not given.")
    excluded: list[ItemId] | None = Field(None, description="Items that may not be recommended.")
    times: list[list[Seconds]] | None = Field(
        None, description="Seconds since 1970 of each item of each history; read by few models, which need them."
    )


class Recommended(BaseModel):
    """One item of a list."""

    item: ItemId
    score: float
    title: str = Field(description="Empty where it is not known.")


class Answer(BaseModel):
    """The list of one history."""

    items: list[Recommended]
    skipped: int = Field(description="Items of the history that the catalogue does not hold.")


class Answers(BaseModel):
    """What ``POST /recommendations`` gives: one list a history, in their order."""

    release: str
    recommendations: list[Answer]


class Similar(BaseModel):
    """What ``GET /similar/{item}`` gives."""

    release: str
    item: ItemId
    items: list[Recommended]


class Model(BaseModel):
    """What ``GET /model`` gives."""

    release: str
    since: str = Field(description="When it was loaded, in UTC.")
    name: str
    title: str
    kind: str
    dataset: str
    items: int
    fitted_on: str
    exclude_seen: bool
    reads_times: bool
    protocol: dict[str, Any]
    digests: dict[str, str]
    limits: dict[str, int]


class Health(BaseModel):
    """What ``GET /health`` gives."""

    status: str = Field(description="`ok`; `stale` where the next release could not be loaded and this one goes on.")
    release: str
    refused: str | None = Field(None, description="Why the next release could not be loaded.")


class Refusal(BaseModel):
    """Why a request was refused, and what to do."""

    detail: str
