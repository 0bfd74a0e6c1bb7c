"""``make rollback``: put the release in charge that was so before the present one.

The present one is not promoted again unless you do it by ``make promote``. ``release/history.jsonl`` keeps who, when
and why.
"""

from __future__ import annotations

import logging
import sys
import warnings

from orchestration.commands.releases import change, parser_of
from orchestration.exits import ends_plainly


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where the release before is in charge."""
    chosen = parser_of("make rollback", __doc__).parse_args(arguments)
    return change(chosen, "make rollback", "rollback", "put_the_last_in_charge", {"reason": chosen.reason})


if __name__ == "__main__":
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    sys.exit(main())
