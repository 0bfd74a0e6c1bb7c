"""``make fetch``: the data of a dataset that another machine has published below the URL in ``RAW2RANK_SHARED_LAKE``.

It takes the place of what there is of it in the workspace, and counts as up to date: the next ``make run`` goes on
from there.
"""

from __future__ import annotations

import sys

from orchestration.commands.sharing import share
from orchestration.exits import ends_plainly


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where it was done."""
    return share(arguments, "fetch", __doc__)


if __name__ == "__main__":
    sys.exit(main())
