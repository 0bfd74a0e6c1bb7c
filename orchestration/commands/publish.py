"""``make publish``: the checked data of a dataset for other machines, below the URL in ``RAW2RANK_SHARED_LAKE``.

Published are the landing, the staged tables and the marts, as a state that becomes visible as a whole; ``make run`` and
``make check-data`` publish what they have made, where the variable is set.
"""

from __future__ import annotations

import sys

from orchestration.commands.sharing import share
from orchestration.exits import ends_plainly


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where it was done."""
    return share(arguments, "publish", __doc__)


if __name__ == "__main__":
    sys.exit(main())
