"""A request for recommendations, from the bytes that came to those that are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from ml.recommender import NO_ITEM
from ml.service.messages import Asked

if TYPE_CHECKING:
    from ml.release.bundle import Bundle
    from ml.service.figures import Figures
    from ml.service.limits import Limits
    from ml.service.served import Current

JSON = "application/json"
# of a list where nothing is said
DEFAULT_LENGTH = 10
# of the name of a field that is repeated in a refusal
_LONGEST_NAME = 100


class Refused(Exception):
    """A request that is not answered; the message says why and what to do.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def described_body(limits: Limits) -> dict[str, Any]:
    """What a request may hold, for OpenAPI: the fields of :class:`Asked` within the limits."""
    schema = Asked.model_json_schema()
    fields = schema["properties"]
    fields["histories"] |= {"maxItems": limits.histories}
    fields["histories"]["items"] |= {"maxItems": limits.history}
    for name, bounds in (
        ("k", {"maximum": limits.k}),
        ("allowed", {"maxItems": limits.item_ids}),
        ("excluded", {"maxItems": limits.item_ids}),
    ):
        fields[name]["anyOf"][0] |= bounds
    return {"required": True, "content": {JSON: {"schema": schema}}}


def answer_json(current: Current, body: bytes, limits: Limits, figures: Figures) -> bytes:
    """The answer of a release to a request, as JSON.

    Raises:
        Refused: the body is not as it must be, or beyond the limits.
        ValueError: what it asks for is not possible.
    """
    asked = read(body)
    check(asked, limits)
    bundle = current.bundle
    k = min(DEFAULT_LENGTH, limits.k, bundle.items) if asked.k is None else asked.k
    histories, skipped = bundle.encode(asked.histories, asked.times)
    found = bundle.ranked(histories, k, asked.exclude_seen, bundle.mask(asked.allowed, asked.excluded))
    figures.add("histories", len(asked.histories))
    figures.add("skipped_items", sum(skipped))
    answers = [
        {"items": _described(bundle, items, scores), "skipped": unknown}
        for items, scores, unknown in zip(found.items.tolist(), found.scores.tolist(), skipped, strict=True)
    ]
    return orjson.dumps({"release": current.release, "recommendations": answers})


def similar_json(current: Current, item: str, k: int) -> bytes:
    """The items most similar to one, as JSON.

    Raises:
        ValueError: k is larger than the catalogue.
    """
    bundle = current.bundle
    found = bundle.similar_items(item, k)
    places = bundle.indices(other for other, _ in found).tolist()
    items = _described(bundle, places, [score for _, score in found])
    return orjson.dumps({"release": current.release, "item": item, "items": items})


def read(body: bytes) -> Asked:
    """What a request asks for.

    Raises:
        Refused: it is not as it must be. Nothing of it is repeated but the names of fields.
    """
    try:
        return Asked.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        raise Refused(400, "the body is no JSON: send an object with histories")
    where = ".".join(map(str, first["loc"]))[:_LONGEST_NAME]
    raise Refused(422, f"{where or 'the body'}: {first['msg']}; GET /openapi.json describes a request")


def check(asked: Asked, limits: Limits) -> None:
    """Refuse what is beyond the limits.

    Raises:
        Refused: with the limit.
    """
    if len(asked.histories) > limits.histories:
        raise Refused(422, f"{len(asked.histories)} histories: send at most {limits.histories} in one request")
    longest = max(map(len, asked.histories), default=0)
    if longest > limits.history:
        raise Refused(422, f"a history of {longest} items: send the last {limits.history}")
    if asked.k is not None and asked.k > limits.k:
        raise Refused(422, f"k is larger than lists may be: they have at most {limits.k} items")
    for name, given in (("allowed", asked.allowed), ("excluded", asked.excluded)):
        if given is not None and len(given) > limits.item_ids:
            raise Refused(422, f"{len(given)} ids in {name}: send at most {limits.item_ids}")


def _described(bundle: Bundle, items: Sequence[int], scores: Sequence[float]) -> list[dict[str, Any]]:
    kept = [item for item in items if item != NO_ITEM]
    ids, titles = bundle.ids_of(kept), bundle.titles_of(kept)
    # NO_ITEM is behind all items
    return [
        {"item": name, "score": score, "title": title}
        for name, title, score in zip(ids, titles, scores[: len(kept)], strict=True)
    ]
