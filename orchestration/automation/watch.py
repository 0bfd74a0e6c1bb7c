"""Alerts on what does not happen: sensors and daemons that have fallen silent, and datasets without new data.

A daemon that has ended cannot report its own end. So the sensor ``alert_on_silence`` asks for the address in
``RAW2RANK_HEARTBEAT`` at every tick, where that is set: a service that expects it (a dead man's switch) reports when it
stops. When the daemon is back, the sensor tells how long it was away.

Freshness policies of Dagster 1.13 are of an asset and know no partitions: one dataset that is refreshed would hide
another that is not. ``alert_on_overdue`` looks at each dataset by itself.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import time
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from orchestration.automation.alerts import NOT_CONFIGURED, STATUS
from orchestration.automation.messages import Alert, AlertError, configured, shortened
from orchestration.automation.outbox import tell
from orchestration.partitions import datasets

SILENT, OVERDUE = "silent sensor", "overdue dataset"
HEARTBEAT, OVERDUE_HOURS = "RAW2RANK_HEARTBEAT", "RAW2RANK_OVERDUE_HOURS"
# a sensor is silent when it missed so many of its ticks, and that for at least so long
_TICKS_MISSED, _LEAST_SECONDS = 10, 600
# daemons give a sign of life every 30 seconds, in the middle of a long tick too
_DAEMON_SECONDS = 600
# so many failures in a row are told
_FAILURES = 3
_SECONDS = 10
_LANDED = dg.AssetKey(["landing", "reviews"])


@dg.sensor(
    name="alert_on_silence",
    minimum_interval_seconds=60,
    default_status=STATUS,
    description="Tells when a sensor or schedule that is on fails again and again or is no longer evaluated, when a "
    f"part of the daemon is silent, and when the daemon itself was away. Asks for the address in {HEARTBEAT} at every "
    "tick, and sends again what could not be sent. On where a webhook or e-mail is configured.",
)
def alert_on_silence(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    if not configured():
        return dg.SensorResult(skip_reason=NOT_CONFIGURED)
    now = time.time()
    seen: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    alerts: list[Alert] = []
    last, since = seen.get("last"), seen.get("since", now)
    if last is not None and now - last > _LEAST_SECONDS:
        since = now
        alerts.append(
            Alert(
                SILENT,
                f"raw2rank: the daemon was away for {in_words(now - last)}, until {_at(now)}: in that time no sensor "
                "and no schedule was evaluated",
            )
        )
    # after a start the others are given time to be evaluated
    silent = silences(context.instance, _defined(context.repository_def), now) if now - since > _LEAST_SECONDS else {}
    told = set(seen.get("told", []))
    alerts += [
        Alert(SILENT, f"raw2rank: {text}", None, {"name": name}) for name, text in silent.items() if name not in told
    ]
    context.update_cursor(json.dumps({"last": now, "since": since, "told": sorted(silent)}))
    problems = []
    for act in (lambda: tell(*alerts), beat):
        try:
            act()
        except AlertError as error:
            problems.append(str(error))
    for problem in problems:
        context.log.error(problem)
    return dg.SensorResult(skip_reason="; ".join(problems) or "; ".join(silent.values()) or "nothing is silent")


def silences(instance: dg.DagsterInstance, defined: Mapping[str, bool], now: float) -> dict[str, str]:
    """What is on and silent, by name, with a sentence on each.

    Args:
        instance: whose sensors, schedules and daemons are looked at.
        defined: names of the sensors and schedules, and whether each is on by default.
        now: seconds since 1970.
    """
    found: dict[str, str] = {}
    for name, state in sorted(_states(instance).items()):
        status = state.status.value
        if name not in defined or status == "STOPPED" or (status == "DECLARED_IN_CODE" and not defined[name]):
            continue
        kind = state.instigator_type.value.lower()
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_FAILURES)
        if len(ticks) == _FAILURES and all(tick.status.value == "FAILURE" for tick in ticks):
            error = ticks[0].error
            lines = (error.message if error is not None else "").strip().splitlines()
            reason = f": {lines[-1]}" if lines else ""
            found[name] = shortened(f"the {kind} {name} has failed {_FAILURES} times in a row{reason}")
        elif kind == "sensor":
            interval = state.instigator_data.min_interval or 30
            last = _last_tick(state)
            if last and now - last > max(_LEAST_SECONDS, _TICKS_MISSED * interval):
                found[name] = (
                    f"the sensor {name} is on and was last evaluated {in_words(now - last)} ago; see the log of "
                    "Dagster's daemon, and start it again"
                )
    beats = instance.get_daemon_heartbeats()
    for name in sorted(instance.get_required_daemon_types()):
        at = beats[name].timestamp if name in beats else None
        if at is None or now - at > _DAEMON_SECONDS:
            when = f"since {_at(at)}" if at is not None else "at all"
            found[f"daemon {name}"] = f"the daemon {name} has given no sign of life {when}: start the daemon again"
    return found


def _states(instance: dg.DagsterInstance) -> dict[str, Any]:
    """The state of each sensor and schedule; of one that is known under several code locations, the one used last."""
    found: dict[str, Any] = {}
    for state in instance.all_instigator_state():
        if state.name not in found or _last_tick(state) >= _last_tick(found[state.name]):
            found[state.name] = state
    return found


def _last_tick(state: Any) -> float:
    """When a sensor was last evaluated, in seconds since 1970; 0 where it never was, and of a schedule."""
    return getattr(state.instigator_data, "last_tick_timestamp", None) or 0.0


def _defined(repository: dg.RepositoryDefinition | None) -> dict[str, bool]:
    """The sensors and schedules of a repository, and whether each is on by default."""
    if repository is None:
        return {}
    every = (*repository.sensor_defs, *repository.schedule_defs)
    return {each.name: each.default_status.value == "RUNNING" for each in every}


def beat() -> None:
    """Ask for the address in ``RAW2RANK_HEARTBEAT``, where it is set.

    Raises:
        AlertError: it does not answer; only its host is named.
    """
    address = os.environ.get(HEARTBEAT)
    if not address:
        return
    try:
        parts = urlsplit(address)
        host = parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:
        host = None
    if host is None:
        raise AlertError(f"{HEARTBEAT} is no address: give one that begins with https:// or http://")
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS):
            pass
    except (OSError, ValueError, http.client.HTTPException) as error:
        code = getattr(error, "code", None)
        reason = f"answered with {code}" if code else "cannot be reached"
        raise AlertError(f"the heartbeat address at {host} {reason}") from None


@dg.sensor(
    name="alert_on_overdue",
    minimum_interval_seconds=300,
    default_status=STATUS,
    description=f"Tells, once, of a dataset without new data for longer than {OVERDUE_HOURS} says: 26, or "
    "Beauty=26,Toys=200 for some datasets alone. On where a webhook or e-mail is configured.",
)
def alert_on_overdue(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    if not configured():
        return dg.SensorResult(skip_reason=NOT_CONFIGURED)
    try:
        allowed = read_hours(os.environ.get(OVERDUE_HOURS, ""))
    except ValueError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
    if not allowed:
        return dg.SensorResult(skip_reason=f"{OVERDUE_HOURS} is not set")
    told: dict[str, float] = json.loads(context.cursor) if context.cursor else {}
    known = context.instance.get_dynamic_partitions(datasets.name)
    late = overdue(context.instance, known, allowed, time.time())
    alerts = [
        Alert(OVERDUE, f"raw2rank: {dataset}: {text}", dataset, {"landed": _at(landed)})
        for dataset, (landed, text) in late.items()
        if told.get(dataset) != landed
    ]
    context.update_cursor(json.dumps({dataset: landed for dataset, (landed, _) in late.items()}, sort_keys=True))
    try:
        tell(*alerts)
    except AlertError as error:
        context.log.error(str(error))
    unknown = sorted(set(allowed) - {""} - set(known))
    notes = [f"{OVERDUE_HOURS} names {name}, which is no dataset here" for name in unknown]
    for note in notes:
        context.log.warning(note)
    return dg.SensorResult(
        skip_reason="; ".join([*notes, *(f"{name}: {text}" for name, (_, text) in late.items())])
        or "no dataset is overdue"
    )


def read_hours(text: str) -> dict[str, float]:
    """The hours that a dataset may be without new data, by name; those of every other under ``""``.

    Raises:
        ValueError: the text is not like ``26`` or ``Beauty=26,Toys=200``.
    """
    found: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, given, hours = part.rpartition("=")
        try:
            value = float(hours)
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value)) or (given and not name.strip()) or name.strip() in found:
            raise ValueError(
                f"{OVERDUE_HOURS}: {part!r} is no number of hours: write 26 for every dataset, Beauty=26,Toys=200 for "
                "some of them, or both, each dataset once"
            )
        found[name.strip()] = value
    return found


def overdue(
    instance: dg.DagsterInstance, known: Iterable[str], allowed: Mapping[str, float], now: float
) -> dict[str, tuple[float, str]]:
    """Datasets without new data for too long: when data last landed, in seconds since 1970, and a sentence.

    Args:
        instance: that records what has landed.
        known: names of datasets; one that never landed is not overdue.
        allowed: as of :func:`read_hours`.
        now: seconds since 1970.
    """
    found = {}
    for dataset in known:
        hours = allowed.get(dataset, allowed.get(""))
        if hours is None:
            continue
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=_LANDED, asset_partitions=[dataset]), limit=1
        ).records
        if records and now - (landed := records[0].timestamp) > hours * 3600:
            found[dataset] = (
                landed,
                f"no new data has landed since {_at(landed)}; {hours:g} hours are allowed ({OVERDUE_HOURS}): see "
                "whether its dump arrives, and whether new_dumps or nightly is on",
            )
    return found


def in_words(seconds: float) -> str:
    """A duration, in minutes, hours or days."""
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // 1440} days"


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
