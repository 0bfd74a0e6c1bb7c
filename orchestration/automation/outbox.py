"""The outbox: alerts are kept in ``alerts/`` of the workspace until every channel has taken them.

A sensor of Dagster that follows runs moves on when it fails, so an alert that met a webhook that was down would be
lost. What is in the outbox is sent again by the next sensor that sends, at the latest by ``alert_on_silence``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from orchestration.automation.messages import Alert, AlertError, configured, send
from orchestration.dataset_lock import exclusive_lock
from orchestration.paths import Workspace

# the oldest make room: a webhook that is down for weeks must not fill the disk
MOST = 500


def tell(*alerts: Alert) -> None:
    """Send alerts, and what is still in the outbox before them.

    Raises:
        AlertError: a channel did not take them; they stay in the outbox for it.
    """
    folder = outbox()
    for alert in alerts:
        _put(folder, alert)
    deliver()


def deliver() -> int:
    """Send what is in the outbox, oldest first; the number of messages that have reached every channel.

    Raises:
        AlertError: a channel did not take a message; the messages stay in the outbox for that channel.
    """
    folder = outbox()
    if not folder.is_dir():
        return 0
    failed: dict[str, str] = {}
    sent = 0
    # two sensors that send at the same time would send twice
    with exclusive_lock(folder):
        for file in sorted(folder.glob("*.json")):
            kept = _read(file)
            if kept is None:
                continue
            alert, channels = kept
            left = _through(alert, [name for name in channels if name in configured()], failed)
            if left:
                _write(file, alert, left)
            else:
                file.unlink()
                sent += 1
    if failed:
        raise AlertError("; ".join(failed.values()))
    return sent


def _through(alert: Alert, channels: list[str], failed: dict[str, str]) -> list[str]:
    """Send an alert through channels; those that did not take it, with the reason put into ``failed``."""
    left = []
    for channel in channels:
        # a channel that is down is not asked once for each message
        if channel not in failed:
            try:
                send(alert, channel)
                continue
            except AlertError as error:
                failed[channel] = str(error)
        left.append(channel)
    return left


def outbox() -> Path:
    """Folder of the alerts that are to be sent."""
    return Workspace.current().home / "alerts"


def _put(folder: Path, alert: Alert) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder):
        waiting = sorted(folder.glob("*.json"))
        for file in waiting[: max(0, len(waiting) - MOST + 1)]:
            file.unlink()
        stamp = time.time_ns()
        while (file := folder / f"{stamp:020d}.json").exists():
            stamp += 1
        _write(file, alert, configured())


def _write(file: Path, alert: Alert, channels: list[str]) -> None:
    from ml.data.files import atomic_file

    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps({"alert": alert.as_fields(), "channels": channels}), encoding="utf-8")


def _read(file: Path) -> tuple[Alert, list[str]] | None:
    """An alert and the channels it is still to be sent through; a damaged file is set aside, and ``None``."""
    try:
        kept = json.loads(file.read_bytes())
        return Alert(**kept["alert"]), list(kept["channels"])
    except (ValueError, TypeError, KeyError):
        file.rename(file.with_suffix(".damaged"))
        return None
