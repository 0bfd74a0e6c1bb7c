"""Verdicts as a page of Markdown: paper, ours, seeds, interval, verdict."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ml.reproduction.claims import Protocol
from ml.reproduction.results import NOT_RUN, Verdict

_HEADER = (
    "| Recommender | Fit on | Published | Strongest | Asked | Ours, mean | 95 % interval over users | Seeds | Fit, s "
    "| Verdict |\n"
    "| --- | --- | ---: | ---: | --- | ---: | --- | --- | ---: | --- |"
)


def page(verdicts: Sequence[Verdict], protocols: Mapping[str, Protocol], command: str) -> str:
    """The page, one table a protocol.

    Args:
        verdicts: in the order to print them.
        protocols: by name.
        command: that made them.
    """
    lines = [
        "# Published results, and ours",
        "",
        f"Written by `{command}`; not edited by hand. Metric: nDCG@10 over the whole catalogue, last item of every",
        "user held out, the validation item in the test history. *Fit on* says what the final weights have seen:",
        "`train` is all but the held-out items, `train+validation` all but the test item, trained anew for as many",
        "epochs as were best on the validation items. Rows of the two kinds do not compare. Equal scores are ranked by",
        "one seeded permutation of the items. *Ours* is the mean over seeds; the interval is a bootstrap over users of",
        "that mean, and leaves out the spread between seeds, which stands beside it. *Strongest* is the highest",
        "published figure that we know of the same kind, that is on the same file with the same *fit on*, by any",
        "model; empty where it is the published one. A figure marked † is of a source that does not state all of its",
        "protocol: what is missing stands below the table. *Asked* is what counts as reproduced; where it names",
        "recommenders, ours must be significantly better (paired by user, over users and seeds, corrected by Holm's",
        "method, level .05).",
    ]
    for name, protocol in protocols.items():
        rows = [verdict for verdict in verdicts if verdict.claim.protocol == name]
        if not rows:
            continue
        lines += ["", f"## {protocol.title}", "", _about(protocol), "", _HEADER]
        lines += [_row(verdict) for verdict in rows]
        lines += ["", *(f"- {verdict.claim.title}, {verdict.claim.fit_on}: {_source(verdict)}." for verdict in rows)]
        machines = dict.fromkeys(verdict.machine for verdict in rows if verdict.machine)
        if machines:
            lines += ["", f"Run on: {' / '.join(machines)}."]
    return "\n".join(lines) + "\n"


def _about(protocol: Protocol) -> str:
    users = f"{protocol.validation_users} seeded users" if protocol.validation_users else "all users"
    seen = "excluded from rankings" if protocol.exclude_seen else "not excluded from rankings"
    core = f"{protocol.k_core}-core" if protocol.k_core else "no k-core (the file is one)"
    notes = f" {protocol.notes}" if protocol.notes else ""
    return f"{protocol.source}. {core}; validation by {users}; items of a user's own history {seen}.{notes}"


def _source(verdict: Verdict) -> str:
    claim = verdict.claim
    parts = [f"`{claim.recommender}`. {claim.source}"]
    if claim.not_stated:
        parts.append(f"† Not stated: {claim.not_stated}")
    if claim.strongest is not None:
        parts.append(f"Strongest of its kind: {claim.strongest_source}")
    return ". ".join(parts)


def _row(verdict: Verdict) -> str:
    claim = verdict.claim
    if verdict.finding == NOT_RUN or verdict.interval is None:
        ours, interval, seeds, seconds = "", "", "", ""
    else:
        ours = f"{verdict.interval.mean:.4f}"
        interval = f"{verdict.interval.low:.4f} to {verdict.interval.high:.4f}"
        seeds = ", ".join(f"{mean:.4f}" for mean in verdict.means)
        if len(verdict.means) > 1:
            seeds += f" (sd {statistics.stdev(verdict.means):.4f})"
        seconds = f"{verdict.seconds:.0f}" if verdict.seconds else ""
    published = "" if claim.published is None else f"{claim.published:.4f}{' †' if claim.not_stated else ''}"
    strongest = "" if claim.strongest is None else f"{claim.strongest:.4f}"
    cells = (claim.title, f"`{claim.fit_on}`", published, strongest, _asked(verdict), ours, interval, seeds, seconds)
    return f"| {' | '.join(cells)} | {verdict.sentence} |"


def _asked(verdict: Verdict) -> str:
    claim = verdict.claim
    parts = []
    if claim.lowest is not None and claim.highest is not None:
        parts.append(f"{claim.lowest:.4f} to {claim.highest:.4f}")
    elif claim.lowest is not None:
        parts.append(f"≥ {claim.lowest:.4f}")
    elif claim.highest is not None:
        parts.append(f"≤ {claim.highest:.4f}")
    parts += [f"above `{name}`" for name in claim.above]
    return ", ".join(parts)
