"""Which column of a table is the user, the item, the time, the rating and the verification."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ml.data.lines import LandingError

REQUIRED = ("user", "item")
ROLES = (*REQUIRED, "timestamp", "rating", "verified")

# compared in lower case, without "_", "-" and spaces
KNOWN_NAMES = {
    "user": ("user", "userid", "uid", "reviewerid"),
    "item": ("item", "itemid", "iid", "asin", "parentasin", "productid", "movieid"),
    "timestamp": ("timestamp", "time", "unixreviewtime", "date", "datetime"),
    "rating": ("rating", "ratings", "stars", "overall", "score"),
    "verified": ("verified", "verifiedpurchase"),
}

_TYPED = re.compile(r"(.*):(?:token|float|token_seq|float_seq)")
_LONGEST_LIST = 20


def plain_name(name: str) -> str:
    """The name of a column without the type that RecBole writes behind it (``user_id:token``)."""
    typed = _TYPED.fullmatch(name.strip())
    return typed.group(1).strip() if typed else name.strip()


def find_columns(names: Sequence[str], configured: Mapping[str, str], where: str) -> dict[str, int]:
    """The place of the column of each role, from 0; a role without a column is absent.

    Args:
        names: of the columns, in their order.
        configured: name of the column by role; a role that is not in it is recognised by :data:`KNOWN_NAMES`,
            unless the column is configured for another role.
        where: the file and the line that names the columns, for errors.

    Raises:
        LandingError: a configured column does not exist; no column is the user or the item; several could be.
    """
    plain = [plain_name(name) for name in names]
    places = {}
    for role, name in configured.items():
        found = [place for place, known in enumerate(plain) if name in (known, names[place])]
        if len(found) != 1:
            how_often = "no column" if not found else f"{len(found)} columns"
            raise LandingError(
                f"{where}: {how_often} of the name {name!r}, given for the {role}; there are {_listed(plain)}; "
                "correct [columns] in the description of the source"
            )
        places[role] = found[0]
    taken = set(places.values())
    for role in ROLES:
        if role in places:
            continue
        found = [
            place
            for place, name in enumerate(plain)
            if place not in taken and re.sub(r"[_\- ]", "", name).lower() in KNOWN_NAMES[role]
        ]
        if len(found) > 1:
            raise LandingError(
                f"{where}: {_listed([plain[place] for place in found])} could each be the {role}; say which in "
                f'source.toml: layout = "table" and, under [columns], {role} = "{plain[found[0]]}"'
            )
        if found:
            places[role] = found[0]
        elif role in REQUIRED:
            raise LandingError(
                f"{where}: no column is known as the {role}; there are {_listed(plain)}; give the columns a first "
                f'line of names, or say which it is in source.toml: layout = "table" and, under [columns], '
                f'{role} = "<name>"'
            )
    return places


def _listed(names: Sequence[str]) -> str:
    few = ", ".join(repr(name if len(name) <= 40 else f"{name[:39]}…") for name in names[:_LONGEST_LIST])
    return few if len(names) <= _LONGEST_LIST else f"{few} and {len(names) - _LONGEST_LIST} more"
