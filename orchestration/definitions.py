"""All definitions, as ``dagster dev`` and every other entry point load them."""

from __future__ import annotations

import atexit
import gc

gc.disable()  # nothing that is made here is garbage; see orchestration/__init__.py
try:
    from orchestration.build import build_defs

    defs = build_defs()
finally:
    gc.enable()
gc.freeze()
# extension modules look for what they have leaked when the interpreter ends, and say so on the terminal
atexit.register(gc.unfreeze)
