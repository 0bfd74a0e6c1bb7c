"""Dagster: what exists, in which order, when it is re-made and what the UI shows. Algorithms live in ``ml``.

Modules import only dagster and the standard library (dagster_dbt where dbt is); everything heavy is imported
inside the bodies, so that the definitions load in a few seconds.
"""

import gc
import os
import warnings

# before torch is loaded: threads that wait for each other sleep instead of spinning, which on a busy machine takes
# the processor from the thread that is waited for
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Definitions are some million small objects that live as long as the process, and the collector of Python walks them
# again for each 700 new ones: a third of the time that loading takes.
gc.set_threshold(50_000, 20, 100)

# partitioned checks, the observable dumps: their versions are pinned, and the notices would fill every log
warnings.filterwarnings("ignore", message=r".*is currently in (beta|preview)", module=r"dagster.*|orchestration.*")
