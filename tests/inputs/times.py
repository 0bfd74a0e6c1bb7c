"""Times of tables, and the order that counts without them."""

from __future__ import annotations

from .entry import DAY, TIME, Input, table

T = TIME
FAR = 4_070_908_800
MORNING = 1_389_618_000  # 2014-01-13T13:00:00Z


def times(*values: object, **options: object) -> dict[str, str]:
    """A row for each time."""
    return {"shop.csv": table("user,item,timestamp", *(f"u{n},i{n},{value}" for n, value in enumerate(values)))}


def kept(*values: int) -> list[tuple]:
    return [(f"u{n}", f"i{n}", value) for n, value in enumerate(values)]


def said(form: str) -> str:
    return f'layout = "table"\ntime_format = "{form}"\n'


_G = "Times"
_UNITS = [
    Input(_G, "seconds since 1970", times(T, T + 1), rows=2, kept=kept(T, T + 1)),
    Input(_G, "milliseconds", times(T * 10**3), rows=1, kept=kept(T)),
    Input(_G, "microseconds", times(T * 10**6), rows=1, kept=kept(T)),
    Input(_G, "nanoseconds", times(T * 10**9), rows=1, kept=kept(T)),
    Input(_G, "seconds with decimals", times(f"{T}.5"), rows=1, kept=kept(T)),
    Input(_G, "days of the calendar: `20140113`", times(20140113), rows=1, kept=kept(MORNING - 13 * 3600)),
    Input(_G, "seconds of the calendar: `20140113130000`", times(20140113130000), rows=1, kept=kept(MORNING)),
    Input(_G, "ISO 8601 in UTC", times("2014-01-13T13:00:00Z"), rows=1, kept=kept(MORNING)),
    Input(_G, "ISO 8601 in another zone", times("2014-01-13T14:00:00+01:00"), rows=1, kept=kept(MORNING)),
    Input(_G, "`2014-01-13 13:00:00 UTC`", times("2014-01-13 13:00:00 UTC"), rows=1, kept=kept(MORNING)),
    Input(_G, "`2014/01/13`", times("2014/01/13"), rows=1, kept=kept(MORNING - 13 * 3600)),
    Input(_G, "`13 Jan 2014`", times("13 Jan 2014"), rows=1, kept=kept(MORNING - 13 * 3600)),
    Input(_G, "`Mon Jan 13 13:00:00 +0000 2014`", times("Mon Jan 13 13:00:00 +0000 2014"), rows=1, kept=kept(MORNING)),
    Input(
        _G,
        "`03/04/2014`: day or month first?",
        times("03/04/2014", "2014-01-13"),
        rows=1,
        rejects={"timestamp not a number or date": 1},
    ),
    Input(
        _G,
        "`03/04/2014` with `time_format`",
        times("03/04/2014"),
        source=said("%d/%m/%Y"),
        rows=1,
        kept=kept(1_396_483_200),
    ),
    Input(_G, "1, 2, 3 as times", times(1, 2, 3), refused="timestamp = false"),
    Input(
        _G,
        "1, 2, 3 with `timestamp = false`",
        times(1, 2, 3),
        source='layout = "table"\n[columns]\ntimestamp = false\n',
        rows=3,
        kept=kept(None, None, None),
    ),
    Input(_G, "years", times(2014, 2015), refused="numbers up to 2015, which are no seconds since 1970"),
    Input(_G, "days since 1970", times(16203), refused="days since 1970-01-01"),
    Input(
        _G,
        "days since 1970, said so",
        times(16203),
        source=said("days since 1970-01-01"),
        rows=1,
        kept=kept(16203 * DAY),
    ),
    Input(_G, "a `time_format` that does not exist", times(T), source=said("fortnights"), refused="time_format"),
    Input(
        _G,
        "an empty time, and one that is none",
        times(T, "", "soon"),
        rows=1,
        rejects={"timestamp missing": 1, "timestamp not a number or date": 1},
    ),
    Input(_G, "times beyond 2100", times(T, FAR * 2), rows=1, rejects={"timestamp out of range": 1}),
    Input(
        _G,
        "a quarter of the times in 2099",
        {
            "shop.csv": table(
                "user,item,timestamp", *(f"u{n % 9},i{n % 9},{T + n if n % 4 else FAR}" for n in range(40))
            )
        },
        rows=40,
        warns=["are before 1995-07-16 or after 2026-01-02"],
        checked=True,
    ),
    Input(
        _G,
        "most times before 1995",
        {"shop.csv": table("user,item,timestamp", *(f"u{n % 9},i{n % 9},{10**8 + n}" for n in range(40)))},
        rows=40,
        stops=["timestamps_are_unix_seconds"],
        warns=["are before 1995-07-16 or after 2026-01-02"],
        checked=True,
    ),
]

_PAIRS = tuple(f"u{n % 9},i{n % 9},x" for n in range(40))
_ORDER = [
    Input(
        "No times",
        "no column of times",
        {"shop.csv": table("user,item,colour", *_PAIRS)},
        rows=40,
        warns=["no column is known as the time", "has no column that is recognised as the time"],
        checked=True,
    ),
    Input(
        "No times",
        "a column that looks like a time: `when_bought`",
        {"shop.csv": table("user,item,when_bought", *(f"u{n % 9},i{n % 9},{T + n}" for n in range(40)))},
        rows=40,
        warns=["when_bought", "when_bought"],
        checked=True,
    ),
    *(
        Input(
            "No times",
            f"the time is called `{name}`",
            {"shop.csv": table(f"user,item,{name}", f"u,i,{T}")},
            rows=1,
            kept=[("u", "i", T)],
        )
        for name in ("t_dat", "created_at", "order_date", "visit_time", "ts")
    ),
]

TIMES = (*_UNITS, *_ORDER)
