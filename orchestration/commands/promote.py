"""``make promote``: put a release in charge by hand, whatever the gate said.

Without ``VERSION`` the present candidate of the dataset; with it any release on disk, by the first digits of its
digest. ``release/history.jsonl`` keeps who, when and why.
"""

from __future__ import annotations

import logging
import sys
import warnings

from orchestration.commands.releases import change, parser_of
from orchestration.exits import ends_plainly


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where another release is in charge."""
    parser = parser_of("make promote", __doc__)
    parser.add_argument("--version", default="", help="first digits of the digest of a release on disk")
    chosen = parser.parse_args(arguments)
    config = {"version": chosen.version, "reason": chosen.reason}
    return change(chosen, "make promote", "promote", "put_in_charge", config)


if __name__ == "__main__":
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    sys.exit(main())
