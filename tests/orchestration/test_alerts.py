"""What is posted and mailed when something is wrong, to servers of this test."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from orchestration.automation.alerts import alert_on_failed_checks, alert_on_failure
from orchestration.automation.messages import MAIL_FROM, MAIL_TO, SMTP_URL, WEBHOOK, Alert, AlertError, mail, post
from orchestration.automation.outbox import MOST, deliver, outbox, tell
from orchestration.partitions import datasets


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted, and answers with ``status``."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str, dict]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class MailServer(socketserver.ThreadingTCPServer):
    """Speaks as much of SMTP as a client that is not encrypted needs, and keeps the messages.

    Attributes:
        messages: recipients of each message, and the message.
        logins: user and password of each AUTH PLAIN.
        answer: the code to a recipient.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.messages: list[tuple[list[str], EmailMessage]] = []
        self.logins: list[tuple[str, str]] = []
        self.answer = "250"
        super().__init__(("127.0.0.1", 0), MailSession)

    @property
    def address(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class MailSession(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say("220 mail.example ESMTP")
        recipients: list[str] = []
        while line := self.rfile.readline().decode().strip():
            command = line.split()[0].upper()
            if command == "EHLO":
                self.say("250-mail.example\r\n250 AUTH PLAIN")
            elif command == "AUTH":
                _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
                self.server.logins.append((user, password))
                self.say("235 welcome" if password == "p@ss:word" else f"535 {user} is not known")
            elif command == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
                self.say(f"{self.server.answer} recipient")
            elif command == "DATA":
                self.say("354 go on")
                content = b""
                while (row := self.rfile.readline()) != b".\r\n":
                    content += row.removeprefix(b".") if row.startswith(b"..") else row
                self.server.messages.append((recipients, message_from_bytes(content, policy=policy.default)))
                recipients = []
                self.say("250 taken")
            elif command == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 well")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dg.asset(partitions_def=datasets)
def landed(context) -> None:
    if context.partition_key == "Told":
        raise dg.Failure(description="Told: reviews.csv: the file is cut short; download it again", allow_retries=False)
    raise dg.Failure(description="é" * 5000, allow_retries=False)


@dg.asset(partitions_def=datasets)
def checked() -> None:
    pass


@dg.asset_check(asset=checked, blocking=True)
def contract() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="3 rows have no user")


@dg.asset(partitions_def=datasets, deps=[checked])
def below() -> None:
    pass


def tick(instance: dg.DagsterInstance, *assets, dataset: str = "Told") -> object:
    """Let a run fail, and the sensor see it."""
    instance.add_dynamic_partitions(datasets.name, [dataset])
    result = dg.materialize([*assets], instance=instance, partition_key=dataset, raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.RUN_FAILURE]
    context = dg.build_run_status_sensor_context(
        "alert_on_failure", failure, instance, result.dagster_run
    ).for_run_failure()
    return result.run_id, alert_on_failure(context)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    for name in (WEBHOOK, SMTP_URL, MAIL_TO, MAIL_FROM):
        monkeypatch.delenv(name, raising=False)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_dataset_reason_and_run_are_posted(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    run_id, _ = tick(instance, landed)
    ((path, kind, content),) = webhook.posted
    assert (path, kind) == ("/secret", "application/json")
    assert content["dataset"] == "Told"
    assert content["reason"] == "Told: reviews.csv: the file is cut short; download it again"
    assert content["run_id"] == run_id
    assert content["reason"] in content["text"]


def test_a_failed_check_is_the_reason(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    tick(instance, checked, contract, below)
    ((_, _, content),) = webhook.posted
    assert "check contract failed" in content["reason"]
    assert "3 rows have no user" in content["reason"]


def test_a_long_reason_is_cut(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    tick(instance, landed, dataset="Long")
    assert len(webhook.posted[0][2]["reason"]) == 2001


def test_nothing_is_posted_without_an_address(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)
    _, said = tick(instance, landed)
    assert said.skip_message == "neither RAW2RANK_WEBHOOK nor RAW2RANK_SMTP_URL is set"
    assert not webhook.posted


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_the_webhook_does_not_take_is_an_error_without_its_secret(webhook: Webhook, status: int) -> None:
    webhook.status = status
    with pytest.raises(AlertError, match=f"the webhook at 127.0.0.1 answered with {status}") as refused:
        post(webhook.address, {})
    assert "secret" not in str(refused.value)
    assert len(webhook.posted) == 1, "no redirect is followed"


@pytest.mark.parametrize("address", ["file://localhost/x", "ftp://127.0.0.1/x", "hooks.example.org/x", "https://?x"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(AlertError, match="RAW2RANK_WEBHOOK is no address of a webhook"):
        post(address, {})


def test_a_webhook_that_is_not_there_is_told_by_its_host(webhook: Webhook) -> None:
    address = webhook.address
    webhook.server_close()
    with pytest.raises(AlertError, match=r"the webhook at 127\.0\.0\.1 cannot be reached") as refused:
        post(address, {})
    assert "secret" not in str(refused.value)


BOUND, FINE = (dg.AssetCheckSpec(name, asset=["release", "decision"]) for name in ("ndcg_no_worse", "size"))


@dg.asset(key=["release", "decision"], partitions_def=datasets, check_specs=[BOUND, FINE])
def decision(context):
    refused = context.partition_key == "Refused"
    return dg.MaterializeResult(
        metadata={
            "verdict": "refuse" if refused else "promote",
            "decision": "ndcg_no_worse is not kept." if refused else "Every bound is kept.",
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="ndcg_no_worse",
                passed=not refused,
                severity=dg.AssetCheckSeverity.WARN,
                description="nDCG@10 fell by 0.0300",
            ),
            dg.AssetCheckResult(check_name="size", passed=True),
        ],
    )


@dg.asset_check(asset=checked)
def warning() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, severity=dg.AssetCheckSeverity.WARN, description="prices are far from those of last week"
    )


@dg.asset_check(asset=checked)
def up_to_date() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="out of date")


def ended_well(instance: dg.DagsterInstance, *assets, dataset: str = "Shop") -> str:
    """Let a run end well, and the sensor see it; the id of the run."""
    instance.add_dynamic_partitions(datasets.name, [dataset])
    result = dg.materialize([*assets], instance=instance, partition_key=dataset)
    (event,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.RUN_SUCCESS]
    alert_on_failed_checks(
        dg.build_run_status_sensor_context("alert_on_failed_checks", event, instance, result.dagster_run)
    )
    return result.run_id


def test_failed_checks_of_a_run_that_ended_well_are_told(instance, webhook, monkeypatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    run_id = ended_well(instance, checked, warning, up_to_date)
    ((_, _, content),) = webhook.posted
    assert content == {
        "kind": "failed check",
        "text": "raw2rank: Shop: 1 check failed. checked: check warning: prices are far from those of last week "
        f"(run {run_id})",
        "dataset": "Shop",
        "job": content["job"],
        "reason": "1 check failed. checked: check warning: prices are far from those of last week",
        "run_id": run_id,
        "checks": ["checked: warning"],
    }


def test_a_run_without_failed_checks_is_not_told(instance, webhook, monkeypatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    ended_well(instance, checked, up_to_date)
    ended_well(instance, decision)
    assert not webhook.posted


def test_a_refused_candidate_is_told_with_its_bounds(instance, webhook, monkeypatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    ended_well(instance, decision, dataset="Refused")
    ((_, _, content),) = webhook.posted
    assert content["kind"] == "refused candidate"
    assert content["reason"] == (
        "the candidate was refused: ndcg_no_worse is not kept. "
        "release/decision: check ndcg_no_worse: nDCG@10 fell by 0.0300"
    )
    assert content["checks"] == ["release/decision: ndcg_no_worse"]


def test_a_broken_contract_is_told_as_one(instance, webhook, monkeypatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)

    @dg.asset(key=["landing", "reviews"], partitions_def=datasets)
    def reviews() -> None: ...

    @dg.asset_check(asset=reviews, name="contract", blocking=True)
    def broken() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description="3 rows have no user")

    tick(instance, reviews, broken)
    assert webhook.posted[0][2]["kind"] == "broken contract"
    tick(instance, landed)
    assert webhook.posted[1][2]["kind"] == "failed run"


def test_the_same_is_told_by_mail(instance, webhook, mail_server: MailServer, monkeypatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    monkeypatch.setenv(SMTP_URL, mail_server.address.replace("//", "//user%40example.org:p%40ss%3Aword@"))
    monkeypatch.setenv(MAIL_TO, "ops@example.org, data@example.org")
    monkeypatch.setenv(MAIL_FROM, "raw2rank@example.org")
    run_id, _ = tick(instance, landed)
    assert mail_server.logins == [("user@example.org", "p@ss:word")]
    ((recipients, message),) = mail_server.messages
    assert recipients == ["ops@example.org", "data@example.org"]
    assert message["From"] == "raw2rank@example.org"
    assert message["Subject"].startswith("raw2rank: Told: ")
    text = message.get_content()
    assert "the file is cut short; download it again" in text
    assert f"run_id: {run_id}" in text
    assert len(webhook.posted) == 1


def test_a_text_of_several_lines_adds_no_header(mail_server: MailServer) -> None:
    mail(mail_server.address, "a@example.org", ["b@example.org"], Alert("failed run", "é\nBcc: c@example.org\n.\nend"))
    ((recipients, message),) = mail_server.messages
    assert recipients == ["b@example.org"]
    assert message["Bcc"] is None
    assert message["Subject"] == "é Bcc: c@example.org . end"
    assert message.get_content().splitlines()[:4] == ["é", "Bcc: c@example.org", ".", "end"]


def test_errors_of_a_mail_server_hold_no_secret(mail_server: MailServer) -> None:
    alert = Alert("failed run", "text")
    secret = mail_server.address.replace("//", "//someone:hidden@")
    with pytest.raises(AlertError, match=r"the mail server at 127\.0\.0\.1 answered with 535$"):
        mail(secret, "a@example.org", ["b@example.org"], alert)
    mail_server.answer = "550"
    with pytest.raises(AlertError, match=r"refused every recipient in RAW2RANK_MAIL_TO \(550\)"):
        mail(mail_server.address, "a@example.org", ["b@example.org"], alert)
    assert not mail_server.messages
    for address in ("mail.example.org:587", "http://127.0.0.1:25", "smtp://127.0.0.1:port", "smtp://:25"):
        with pytest.raises(AlertError, match="RAW2RANK_SMTP_URL is no address of a mail server"):
            mail(address, "a@example.org", ["b@example.org"], alert)
    with pytest.raises(AlertError, match="RAW2RANK_MAIL_FROM or RAW2RANK_MAIL_TO is no e-mail address"):
        mail(mail_server.address, "a@example.org\nBcc: c@example.org", ["b@example.org"], alert)


@pytest.mark.parametrize("path", ["/secret path", "/secret\x7f", "/secrét"])
def test_an_address_that_http_cannot_ask_for_is_told_without_its_secret(webhook: Webhook, path: str) -> None:
    with pytest.raises(AlertError, match=r"the webhook at 127\.0\.0\.1 cannot be asked: .*RAW2RANK_WEBHOOK") as refused:
        post(f"http://127.0.0.1:{webhook.server_port}{path}", {})
    assert "secr" not in str(refused.value)
    assert not webhook.posted


def test_a_password_beyond_ascii_holds_no_other_message_up(webhook, mail_server, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setenv(WEBHOOK, webhook.address)
    monkeypatch.setenv(SMTP_URL, mail_server.address.replace("//", "//someone:hidd%C3%A4n@"))
    monkeypatch.setenv(MAIL_TO, "ops@example.org")
    for _ in range(2):
        with pytest.raises(AlertError, match=r"the mail server at 127\.0\.0\.1 .*RAW2RANK_SMTP_URL") as refused:
            tell(Alert("failed run", "text"))
        assert "hidd" not in str(refused.value)
    assert len(webhook.posted) == 2, "each is posted once"


def test_a_password_is_not_sent_in_the_clear_to_another_machine(mail_server: MailServer, monkeypatch) -> None:
    # the name of this machine, which could be that of any
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", mail_server.server_address)])
    with pytest.raises(AlertError, match=r"mail\.example\.org offers no encryption, so no password is sent to it"):
        mail(
            f"smtp://someone:hidden@mail.example.org:{mail_server.server_address[1]}",
            "a@b.org",
            ["c@d.org"],
            Alert("", "x"),
        )
    assert not mail_server.logins


def test_what_could_not_be_sent_is_sent_later_in_order(instance, webhook, mail_server, monkeypatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    monkeypatch.setenv(SMTP_URL, mail_server.address)
    monkeypatch.setenv(MAIL_TO, "ops@example.org")
    webhook.status = 503
    for text in ("first", "second"):
        with pytest.raises(AlertError, match="answered with 503"):
            tell(Alert("failed run", text))
    assert [message["Subject"] for _, message in mail_server.messages] == ["first", "second"]
    webhook.posted.clear()
    webhook.status = 200
    assert deliver() == 2
    assert [content["text"] for _, _, content in webhook.posted] == ["first", "second"]
    assert len(mail_server.messages) == 2, "nothing is mailed twice"
    assert not list(outbox().iterdir())
    assert deliver() == 0


def test_the_outbox_is_bounded_and_survives_a_damaged_file(instance, webhook, monkeypatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    monkeypatch.setattr("orchestration.automation.outbox.MOST", 3)
    assert MOST > 3
    webhook.status = 500
    for number in range(5):
        with pytest.raises(AlertError):
            tell(Alert("failed run", str(number)))
    (outbox() / "00000000000000000000.json").write_text("{")
    webhook.posted.clear()
    webhook.status = 200
    deliver()
    assert [content["text"] for _, _, content in webhook.posted] == ["2", "3", "4"]
    assert [path.name for path in outbox().iterdir()] == ["00000000000000000000.damaged"]
