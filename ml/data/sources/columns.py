"""Detect the columns of a table: user, item, time, rating and verification."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from ml.data.landing.file_lines import LandingError

REQUIRED = ("user", "item")
ROLES = (*REQUIRED, "timestamp", "rating", "verified")

# Compared in lower case, without "_", "-", "." and spaces. The first row of a role that a table has counts: a table
# with `timestamp` and `date` is ordered by `timestamp`, and one with `user_id` and `customer` is about `user_id`.
_ROWS = {
    "user": (
        "user userid uid reviewerid",
        "customerid customer visitorid visitor clientid client memberid member authorid reviewer buyerid buyer "
        "accountid account personid profileid userkey useridx userindex usernumber shopperid subscriberid "
        "playerid listenerid readerid patientid studentid householdid msno custid iduser userno usercode userhash "
        "usersk userpseudoid guestid",
        "username profilename reviewername login email nickname author",
    ),
    "item": (
        "item itemid iid asin parentasin productid movieid",
        "sku skuid articleid article product businessid bookid trackid songid artistid albumid gameid appid videoid "
        "newsid contentid goodsid productcode stockcode isbn recipeid animeid itemidx itemindex itemkey itemnumber "
        "adid offerid hotelid venueid poiid locationid restaurantid beerid gmapid jobid postid movie book courseid "
        "showid storyid docid documentid pid mid iditem prodid itemno itemcode itemhash itemsk",
        "title productname itemname track song game stockid goods artist business offer venue restaurant recipe",
    ),
    "timestamp": (
        "timestamp unixreviewtime unixtime unixtimestamp unixts epoch epochms tstamp timestampms timestamps ts",
        "time datetime eventtime eventtimestamp eventtimems timems timemillis timeseconds createdat createdtime "
        "creationtime created utctime utctimestamp visittime visitedat clicktime purchasetime purchasedat boughtat "
        "ordertime orderedat transactiontime interactiontime ratingtime ratedat reviewedat playedat listenedat "
        "watchedat viewedat checkintime loggedat requesttime servertime localtime epochtime timeunix timesec "
        "localtimestamp visitts checkinat orderpurchasetimestamp",
        "date eventdate orderdate visitdate purchasedate reviewdate ratingdate transactiondate invoicedate createddate "
        "creationdate dateadded dateupdated datecreated readat tdat reviewtime day dt submissiondate submitted "
        "checkindate dateofpurchase purchaseday orderday",
    ),
    "rating": (
        "rating ratings stars overall score",
        "reviewrating reviewoverall userrating ratingscore starrating rate reviewscore bookrating",
    ),
    "verified": ("verified verifiedpurchase",),
}
KNOWN_NAMES = {role: tuple(frozenset(row.split()) for row in rows) for role, rows in _ROWS.items()}
_ALL_KNOWN_NAMES = frozenset().union(*(row for rows in KNOWN_NAMES.values() for row in rows))

_TYPED = re.compile(r"(.*):(?:token|float|token_seq|float_seq)")
_LONGEST_LIST = 20
_LIKE_A_TIME = re.compile(
    r"(?i:time|date|stamp|epoch|when)|(?:^|[_\- ])(?:day|ts|year|month|at|on)(?:$|[_\- ])|[a-z](?:At|On|Ts)$"
)
# of a column that holds the history of a user in front of the item, as RecBole and FuxiCTR write it
_HISTORY = re.compile(
    r"(?:item|product|asin|movie|history|hist|seq|sequence|click|session).*(?:list|history|hist|seq|sequence)"
    r"|hist(?:ory)?(?:item|product|asin|movie).*"
    r"|(?:user|click(?:ed)?|view(?:ed)?|brows(?:e|ing)|purchase|watch|buy|play|interaction|behaviou?r)?hist(?:ory)?"
)
_HISTORY_BY_TYPE = re.compile(r"(?:item|product|asin|movie|hist|seq|session).*")


class ColumnNotFoundError(LandingError):
    """No column of a table is known as the user or as the item."""


def plain_name(name: str) -> str:
    """The name of a column without the type that RecBole writes behind it (``user_id:token``)."""
    typed = _TYPED.fullmatch(name.strip())
    return typed.group(1).strip() if typed else name.strip()


def is_known_name(name: str) -> bool:
    """Whether a text is a name by which some column is recognised."""
    return _simple(plain_name(name)) in _ALL_KNOWN_NAMES


def find_columns(
    names: Sequence[str],
    configured: Mapping[str, str],
    where: str,
    *,
    absent: Collection[str] = (),
    unused: Collection[str] = (),
) -> dict[str, int]:
    """The place of the column of each role, from 0; a role without a column is absent.

    Args:
        names: of the columns, in their order.
        configured: name of the column by role; a role that is not in it is recognised by :data:`KNOWN_NAMES`,
            unless the column is configured for another role.
        where: the file and the line that names the columns, for errors.
        absent: roles that no column is taken for.
        unused: names of columns that are taken for no role.

    Raises:
        ColumnNotFoundError: no column is known as the user, or as the item.
        LandingError: a configured column does not exist; several columns could have a role; a column holds histories.
    """
    plain = [plain_name(name) for name in names]
    places = {}
    for role, name in configured.items():
        found = [place for place, known in enumerate(plain) if name in (known, names[place])]
        if not found:
            raise LandingError(
                f"{where}: no column of the name {name!r}, given for the {role}; there are {_listed(plain)}; "
                "correct [columns] in the description of the source"
            )
        if len(found) > 1:
            raise LandingError(
                f"{where}: {len(found)} columns of the name {name!r}, given for the {role}; {_by_position(plain)}"
            )
        places[role] = found[0]
    taken = {*places.values(), *(place for place, name in enumerate(plain) if {name, names[place]} & set(unused))}
    for role in ROLES:
        if role in places or role in absent:
            continue
        found = next(filter(None, (_named(plain, tier, taken) for tier in KNOWN_NAMES[role])), [])
        if len({plain[place] for place in found}) > 1:
            raise LandingError(
                f"{where}: {_listed([plain[place] for place in found])} could each be the {role}; say which in "
                f'source.toml: layout = "table" and, under [columns], {role} = "{plain[found[0]]}"'
            )
        if len(found) > 1:
            raise LandingError(f"{where}: {len(found)} columns of the name {plain[found[0]]!r}; {_by_position(plain)}")
        if found:
            places[role] = found[0]
            taken.add(found[0])
        elif role in REQUIRED:
            raise ColumnNotFoundError(
                f"{where}: no column is known as the {role}; there are {_listed(plain)}; give the columns a first "
                f'line of names, or say which it is in source.toml: layout = "table" and, under [columns], '
                f'{role} = "<name>"; a file without a line of names needs columns = ["user", "item", ...]'
            )
    _refuse_histories([names[place] for place in range(len(names)) if place not in taken], where)
    return places


def like_a_time(names: Sequence[str]) -> list[str]:
    """Column names that look like a time."""
    return [name for name in names if _LIKE_A_TIME.search(plain_name(name))]


def _named(plain: Sequence[str], known: Collection[str], taken: Collection[int]) -> list[int]:
    return [place for place, name in enumerate(plain) if place not in taken and _simple(name) in known]


def _simple(name: str) -> str:
    return re.sub(r"[_\-. ]", "", name).lower()


def _refuse_histories(names: Sequence[str], where: str) -> None:
    for name in names:
        simple = _simple(plain_name(name))
        is_list = name.strip().endswith("_seq") and _HISTORY_BY_TYPE.fullmatch(simple)
        if is_list or _HISTORY.fullmatch(simple):
            raise LandingError(
                f"{where}: {plain_name(name)!r} holds histories, which are not read from a table: the interactions in "
                "front of the first row of a user would be lost; write one row per interaction, or lines of `user item "
                f'item ...` as a sequence file; to read the table without it, unused = ["{plain_name(name)}"] in '
                "source.toml"
            )


def _by_position(plain: Sequence[str]) -> str:
    position = [
        f'"{name}"' if plain.index(name) == place else f'"{name}_{place + 1}"' for place, name in enumerate(plain)
    ]
    return (
        "rename them in the file, or name all columns by their position in source.toml: "
        f'layout = "table" and columns = [{", ".join(position[:_LONGEST_LIST])}]'
    )


def _listed(names: Sequence[str]) -> str:
    few = ", ".join(repr(name if len(name) <= 40 else f"{name[:39]}…") for name in names[:_LONGEST_LIST])
    return few if len(names) <= _LONGEST_LIST else f"{few} and {len(names) - _LONGEST_LIST} more"
