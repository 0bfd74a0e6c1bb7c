"""Dagster: what exists, in which order, when it is re-made and what the UI shows. Algorithms live in ``ml``.

Modules import only dagster and the standard library (dagster_dbt where dbt is); everything heavy is imported
inside the bodies, so that the definitions load in a few seconds.
"""

import os
import warnings

# before torch is loaded: threads that wait for each other sleep instead of spinning, which on a busy machine takes
# the processor from the thread that is waited for
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# partitioned checks, the observable dumps: their versions are pinned, and the notices would fill every log
warnings.filterwarnings("ignore", message=r".*is currently in (beta|preview)", module=r"dagster.*|orchestration.*")
