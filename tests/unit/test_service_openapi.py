"""The service answers what its OpenAPI description allows, refuses the rest, and never fails: by schemathesis."""

from __future__ import annotations

import hypothesis
import pytest
from release_toys import ITEMS, release

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis

from ml.service.app import create_app
from ml.service.figures import Figures
from ml.service.limits import Limits
from ml.service.served import Served

OPERATIONS = {
    "POST /recommendations",
    "GET /similar/{item}",
    "GET /model",
    "GET /health",
    "GET /metrics",
}
# without parameters there is one request, and none that is wrong
WITH_PARAMETERS = {"POST /recommendations", "GET /similar/{item}"}
EXAMPLES = 30


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("service")
    release(folder / "champion", folder)
    # lists as long as the catalogue at most, which the description cannot know of
    limits = Limits(body=1 << 16, histories=3, history=5, k=len(ITEMS), item_ids=4)
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(Served(folder / "champion", Figures()), limits))


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, "positive") for label in sorted(OPERATIONS)] + [(label, "negative") for label in sorted(WITH_PARAMETERS)],
)
def test_answers_are_as_described(schema, label: str, mode: str) -> None:
    """All checks of schemathesis: status, type and body of an answer are described, what is valid is answered, what is
    not is refused, and nothing ends in a 5xx."""
    operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
    assert operations.keys() == OPERATIONS
    asked = []

    @hypothesis.seed(15)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operations[label].as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    def check(case) -> None:
        asked.append(case.call_and_validate().status_code)

    check()
    assert asked
