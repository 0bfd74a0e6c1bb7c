"""Messages to people: a webhook and e-mail, configured by the environment, and off until they are.

``RAW2RANK_WEBHOOK`` is the address of a webhook that takes JSON; ``RAW2RANK_SMTP_URL`` (``smtp://`` or ``smtps://``)
and ``RAW2RANK_MAIL_TO`` name a mail server and who is told. Addresses of webhooks and mail servers may hold secrets, so
no error of this module quotes more of them than the host.
"""

from __future__ import annotations

import http.client
import json
import os
import smtplib
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

WEBHOOK = "RAW2RANK_WEBHOOK"
SMTP_URL, MAIL_TO, MAIL_FROM = "RAW2RANK_SMTP_URL", "RAW2RANK_MAIL_TO", "RAW2RANK_MAIL_FROM"
_SECONDS = 10
_CHARACTERS = 2000
_SUBJECT_CHARACTERS = 150


class AlertError(RuntimeError):
    """A message could not be sent; of addresses, the error names only the host, since the rest may be secret."""


@dataclass(frozen=True)
class Alert:
    """A message about one event.

    Attributes:
        kind: ``failed run``, ``broken contract``, ``failed check``, ``refused candidate``, ``silent sensor`` or
            ``overdue dataset``.
        text: the whole message in one paragraph.
        dataset: that it is about, where it is about one.
        details: further keys of the posted JSON.
    """

    kind: str
    text: str
    dataset: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What is posted; Slack, Mattermost and Teams show ``text``."""
        return {"text": self.text, "kind": self.kind, "dataset": self.dataset, **self.details}

    def as_fields(self) -> dict[str, Any]:
        """The arguments that make the same alert again."""
        return asdict(self)


def shortened(text: str) -> str:
    """A text that chat programs and mail subjects can take."""
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"


def configured() -> list[str]:
    """The channels that the environment configures: ``webhook``, ``mail``."""
    return [name for name, variable in (("webhook", WEBHOOK), ("mail", SMTP_URL)) if os.environ.get(variable)]


def send(alert: Alert, channel: str) -> None:
    """Send an alert through a channel of :func:`configured`.

    Raises:
        AlertError: the channel is not configured as it should be, or did not take the message.
    """
    _CHANNELS[channel](alert)


def post(address: str, content: dict[str, Any]) -> None:
    """Post JSON to an address, following no redirect.

    Raises:
        AlertError: it is no http or https address, or it does not take the content.
    """
    parts = _split(address)
    if parts is None or parts.scheme not in ("http", "https"):
        raise AlertError(f"{WEBHOOK} is no address of a webhook: give one that begins with https:// or http://")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    body = json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with opener.open(request, timeout=_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        raise AlertError(f"the webhook at {parts.hostname} answered with {error.code} {error.reason}") from None
    except (http.client.InvalidURL, UnicodeError):
        # what they say quotes the address
        raise AlertError(
            f"the webhook at {parts.hostname} cannot be asked: {WEBHOOK} holds characters that no address may "
            "hold, such as blanks; escape them as in a URL"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise AlertError(f"the webhook at {parts.hostname} cannot be reached: {error}") from None


def mail(address: str, sender: str, recipients: list[str], alert: Alert) -> None:
    """Send an alert by e-mail.

    The connection is encrypted from the start with ``smtps://``, and by STARTTLS with ``smtp://`` where the server
    offers it. A password is sent over an encrypted connection only, or to this machine.

    Args:
        address: ``smtp://user:password@host:port``; user, password and port may be left out.
        sender: address of the sender.
        recipients: addresses of those who are told.
        alert: the message.

    Raises:
        AlertError: the address is none of a mail server, or the server does not take the message.
    """
    parts = _split(address)
    if parts is None or parts.scheme not in ("smtp", "smtps"):
        raise AlertError(
            f"{SMTP_URL} is no address of a mail server: give one like smtp://user:password@host:587 or "
            "smtps://user:password@host:465, with special characters of the password escaped as in a URL"
        )
    message = EmailMessage()
    try:
        message["Subject"] = _subject(alert)
        message["From"] = sender
        message["To"] = ", ".join(recipients)
    except ValueError as error:
        raise AlertError(f"{MAIL_FROM} or {MAIL_TO} is no e-mail address: {error}") from None
    message.set_content(f"{alert.text}\n\n{_details(alert)}")
    host = parts.hostname or ""
    try:
        with _connect(parts) as server:
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message, sender, recipients)
    except smtplib.SMTPResponseException as error:
        # the text of the answer may quote the user
        raise AlertError(f"the mail server at {host} answered with {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = ", ".join(sorted({str(code) for code, _ in error.recipients.values()}))
        raise AlertError(f"the mail server at {host} refused every recipient in {MAIL_TO} ({codes})") from None
    except smtplib.SMTPException as error:
        raise AlertError(f"the mail server at {host} did not take the message ({type(error).__name__})") from None
    except OSError as error:
        raise AlertError(f"the mail server at {host} cannot be reached: {error}") from None
    except ValueError:
        # of the Python library, which logs in by ASCII alone; what it says may quote the password
        raise AlertError(
            f"the mail server at {host} cannot be told user and password: {SMTP_URL} holds characters beyond ASCII; "
            "take others"
        ) from None


def _connect(parts: SplitResult) -> smtplib.SMTP:
    """A connection to a mail server, encrypted where that can be."""
    host = parts.hostname or ""
    trusted = ssl.create_default_context()
    if parts.scheme == "smtps":
        return smtplib.SMTP_SSL(host, parts.port or 465, timeout=_SECONDS, context=trusted)
    server = smtplib.SMTP(host, parts.port or 587, timeout=_SECONDS)
    try:
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=trusted)
            server.ehlo()
        elif parts.username and not _is_this_machine(host):
            raise AlertError(
                f"the mail server at {host} offers no encryption, so no password is sent to it: use smtps://, or leave "
                f"user and password out of {SMTP_URL}"
            )
    except BaseException:
        server.close()
        raise
    return server


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _split(address: str) -> SplitResult | None:
    """The parts of an address, ``None`` where it has no host or no valid port."""
    try:
        parts = urlsplit(address)
        # a port that is no number is found when it is asked for
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _subject(alert: Alert) -> str:
    """First line of a mail; one line, whatever the text holds."""
    text = " ".join(alert.text.split())
    return text if len(text) <= _SUBJECT_CHARACTERS else f"{text[: _SUBJECT_CHARACTERS - 1]}…"


def _details(alert: Alert) -> str:
    shown = {"kind": alert.kind, "dataset": alert.dataset, **alert.details}
    return "\n".join(f"{name}: {value}" for name, value in shown.items() if value not in (None, "", []))


def _to_webhook(alert: Alert) -> None:
    post(os.environ.get(WEBHOOK, ""), alert.as_json())


def _to_mail(alert: Alert) -> None:
    recipients = [name.strip() for name in os.environ.get(MAIL_TO, "").split(",") if name.strip()]
    if not recipients:
        raise AlertError(f"{SMTP_URL} is set and {MAIL_TO} is not: name who is told, separated by commas")
    sender = os.environ.get(MAIL_FROM) or f"raw2rank@{socket.getfqdn()}"
    mail(os.environ.get(SMTP_URL, ""), sender, recipients, alert)


_CHANNELS: dict[str, Callable[[Alert], None]] = {"webhook": _to_webhook, "mail": _to_mail}
