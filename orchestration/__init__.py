"""Dagster: what exists, in which order, when it is re-made and what the UI shows. Algorithms live in ``ml``.

Modules import only dagster and the standard library (dagster_dbt where dbt is); everything heavy is imported
inside the bodies, so that the definitions load in a few seconds.
"""

import warnings

# partitioned checks, the observable dumps: their versions are pinned, and the notices would fill every log
warnings.filterwarnings("ignore", message=r".*is currently in (beta|preview)", module=r"dagster.*|orchestration.*")
