"""All definitions, as ``dagster dev`` and every other entry point load them."""

from __future__ import annotations

from orchestration.build import build_defs

defs = build_defs()
