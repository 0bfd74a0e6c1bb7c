"""Downloading: against servers that resume, ignore, cut, change, lie and stall; on 127.0.0.1 alone."""

import gzip
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from ml.data.download import (
    RELEASES,
    DownloadError,
    Patience,
    Progress,
    check_no_other_reviews,
    fetch,
    transfer,
    wanted_urls,
)
from ml.data.download import part as parts
from ml.data.download.releases import check_category
from orchestration.commands.download import main

NAME = "Industrial_and_Scientific_5.json.gz"
CONTENT = gzip.compress(random.Random(0).randbytes(300_000))
OTHER = gzip.compress(random.Random(1).randbytes(250_000))
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """What the server has and how it behaves.

    Attributes:
        faults: for each of the first requests: status and headers of a refusal.
        cuts: for each of the first answers: bytes of the body after which the connection is closed.
        announced: length that is announced instead of the true one.
        stall: waited for after the first ``cuts`` bytes, instead of closing.
        before: called with the number of the request before it is answered.
        asked: headers of the requests; ``sent``: bytes of bodies written, for each answer.
    """

    content: bytes = CONTENT
    etag: str | None = '"one"'
    last_modified: str | None = None
    ranges: bool = True
    heeds_if_range: bool = True
    chunked: bool = False
    announced: int | None = None
    content_type: str = "application/gzip"
    faults: list = field(default_factory=list)
    cuts: list = field(default_factory=list)
    stall: threading.Event | None = None
    before: Callable[[int], None] = lambda number: None
    asked: list = field(default_factory=list)
    sent: list = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        return

    def do_GET(self):
        site: Site = self.server.site
        site.asked.append({"path": self.path, **self.headers})
        site.before(len(site.asked))
        self.close_connection = True
        if site.faults:
            status, headers = site.faults.pop(0)
            self.answer(status, {"Content-Length": "0", **headers})
            return
        content, first, status = site.content, 0, 200
        headers = {"Content-Type": site.content_type}
        if site.etag:
            headers["ETag"] = site.etag
        if site.last_modified:
            headers["Last-Modified"] = site.last_modified
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if condition and site.heeds_if_range and condition not in (site.etag, site.last_modified):
            wanted = None
        if wanted and site.ranges:
            first, status = int(wanted[1]), 206
            if first >= len(content):
                self.answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
                return
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[first:]
        if site.chunked:
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            headers["Content-Length"] = str(len(body) if site.announced is None else site.announced - first)
        self.answer(status, headers)
        cut = site.cuts.pop(0) if site.cuts else None
        with suppress(ConnectionError):
            # noted first: whoever has read it all may look before this thread goes on
            site.sent.append(len(body[:cut]))
            self.wfile.write(body[:cut])
            self.wfile.flush()
            if cut is not None and site.stall:
                site.stall.wait(20)

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def serve():
    servers = []

    def start(**behaviour):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.site = Site(**behaviour)
        server.site.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server.site

    yield start
    for server in servers:
        if server.site.stall:
            server.site.stall.set()
        server.shutdown()
        server.server_close()


def get(site, target, **patience):
    told = io.StringIO()
    choices = {"retries": 3, "first_wait": 0.001, "timeout": 5.0, **patience}
    fetched = fetch(f"{site.url}/{target.name}", target, Patience(**choices), Progress(told))
    return fetched, told.getvalue()


def refusal(site, target, **patience):
    with pytest.raises(DownloadError) as caught:
        get(site, target, **patience)
    assert not target.exists()
    return str(caught.value)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "landing" / NAME


def leftovers(target):
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_a_file_arrives_whole_and_is_not_fetched_again(serve, target):
    site = serve()
    fetched, _ = get(site, target)
    assert target.read_bytes() == CONTENT
    assert (fetched.bytes, fetched.received) == (len(CONTENT), len(CONTENT))
    assert leftovers(target) == []
    again, _ = get(site, target)
    assert again.received == 0
    assert target.read_bytes() == CONTENT


def test_a_file_of_another_size_is_neither_kept_as_whole_nor_overwritten(serve, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=r"exists with 1,000 bytes, but .* move it away"):
        get(serve(), target)
    assert target.read_bytes() == CONTENT[:1000]


def test_a_connection_cut_several_times_is_gone_on_with(serve, target):
    # more cuts than retries: getting on starts the count anew
    site = serve(cuts=[50_000, 40_000, 1, 60_000, 30_000, 2, 10_000])
    fetched, told = get(site, target, retries=1)
    assert target.read_bytes() == CONTENT
    assert fetched.received == sum(site.sent) == len(CONTENT)
    assert [request.get("Range") for request in site.asked[:3]] == [None, "bytes=50000-", "bytes=90000-"]
    assert site.asked[1]["If-Range"] == '"one"'
    assert f"the connection ended at 50,000 of the {len(CONTENT):,} bytes" in told


@pytest.mark.parametrize("chunked", [False, True])
def test_a_server_that_ignores_ranges_sends_all_again(serve, target, chunked):
    site = serve(cuts=[50_000], ranges=False, chunked=chunked)
    _, told = get(site, target)
    assert target.read_bytes() == CONTENT
    assert "beginning anew" in told
    site = serve(cuts=[50_000] * 50, ranges=False, chunked=chunked)
    assert "gave up after 4 attempts" in refusal(site, target.with_name("other.gz"))


def test_a_cut_chunked_answer_is_gone_on_with(serve, target):
    site = serve(cuts=[50_000], chunked=True)
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert site.asked[1]["Range"].startswith("bytes=4999")


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changes_midway_is_begun_anew(serve, target, heeds_if_range):
    site = serve(cuts=[50_000], heeds_if_range=heeds_if_range)

    def change(number):
        if number == 2:
            # of the same length, so that only the ETag tells
            site.content, site.etag = gzip.compress(random.Random(2).randbytes(300_000)), '"two"'
            assert len(site.content) == len(CONTENT)

    site.before = change
    get(site, target)
    assert target.read_bytes() == site.content


def test_a_file_that_changes_without_a_validator_is_told_by_its_size(serve, target):
    site = serve(cuts=[50_000], etag=None)

    def change(number):
        site.content = OTHER if number >= 2 else CONTENT

    site.before = change
    get(site, target)
    assert target.read_bytes() == OTHER


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changes_all_the_time_is_given_up(serve, target, heeds_if_range):
    site = serve(cuts=[50_000] * 100, heeds_if_range=heeds_if_range)

    def change(number):
        site.etag = f'"{number}"'

    site.before = change
    assert "gave up" in refusal(site, target)
    assert len(site.asked) < 12


def test_a_weak_etag_is_no_condition_but_the_date_is(serve, target):
    date = formatdate(1_500_000_000, usegmt=True)
    site = serve(cuts=[50_000], etag='W/"weak"', last_modified=date)
    get(site, target)
    assert site.asked[1]["If-Range"] == date
    assert sum(site.sent) == len(CONTENT)


def test_a_part_that_is_complete_is_finished(serve, target):
    site = serve()
    url = f"{site.url}/{NAME}"
    for total in (len(CONTENT), None):
        target.parent.mkdir(exist_ok=True)
        target.with_name(f"{NAME}.part").write_bytes(CONTENT)
        state = {"url": url, "etag": '"one"', "last_modified": None, "total": total}
        target.with_name(f"{NAME}.part.state").write_text(json.dumps(state))
        fetched, _ = get(site, target)
        assert fetched.received == sum(site.sent) == 0
        assert target.read_bytes() == CONTENT
        assert leftovers(target) == []
        target.unlink()
    # with the total unknown the server was asked, and answered 416
    assert [request["Range"] for request in site.asked] == [f"bytes={len(CONTENT)}-"]


def test_a_part_of_another_address_is_not_gone_on_with(serve, target):
    refusal(serve(cuts=[50_000]), target, retries=0)
    site = serve(content=OTHER)
    get(site, target)
    assert "Range" not in site.asked[0]
    assert target.read_bytes() == OTHER


@pytest.mark.parametrize("state", [None, "{", json.dumps({"url": "x"})])
def test_a_part_of_which_nothing_is_known_is_begun_anew(serve, target, state):
    target.parent.mkdir()
    target.with_name(f"{NAME}.part").write_bytes(b"something else")
    if state:
        target.with_name(f"{NAME}.part.state").write_text(state)
    get(serve(), target)
    assert target.read_bytes() == CONTENT


def test_a_length_that_is_announced_wrong(serve, target):
    # too long: the server itself says later that there is no more
    get(serve(announced=len(CONTENT) + 100), target)
    assert target.read_bytes() == CONTENT
    # too short: what was sent is no whole gzip file
    short = target.with_name("short.gz")
    assert "no whole gzip file" in refusal(serve(announced=len(CONTENT) - 100), short)
    # too long, from a server without ranges
    long = target.with_name("long.gz")
    assert "bytes that the server announced" in refusal(serve(announced=len(CONTENT) + 100, ranges=False), long)


def test_refusals_that_pass_are_waited_out(serve, target):
    later = formatdate(time.time() - 5, usegmt=True)
    site = serve(faults=[(500, {}), (429, {"Retry-After": "1"}), (503, {"Retry-After": later})])
    started = time.monotonic()
    _, told = get(site, target)
    assert time.monotonic() - started >= 1.0
    assert target.read_bytes() == CONTENT
    assert "HTTP 429 Too Many Requests; trying again in 1 s" in told


def test_refusals_that_stay(serve, target):
    site = serve(faults=[(404, {})])
    text = refusal(site, target)
    assert f"{site.url}/{NAME}: the server answered HTTP 404 Not Found" in text
    assert len(site.asked) == 1
    site = serve(faults=[(502, {})] * 10)
    assert "HTTP 502 Bad Gateway; gave up after 4 attempts" in refusal(site, target)
    assert len(site.asked) == 4
    text = refusal(serve(faults=[(503, {"Retry-After": "7200"})]), target)
    assert "asks to come back in 2 h 00 min" in text
    assert leftovers(target) == []


def test_giving_up_keeps_what_was_received(serve, target):
    site = serve(cuts=[50_000])
    site.before = lambda number: site.faults.extend([(500, {})] * (number == 2) * 4)
    assert "Running the command again resumes at 50.0 kB" in refusal(site, target)
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert sum(site.sent) == len(CONTENT)


def test_nothing_comes_in_time(serve, target):
    site = serve(cuts=[1000, 1000], stall=threading.Event())
    assert "nothing came in time" in refusal(site, target, timeout=0.1, retries=0)
    assert target.with_name(f"{NAME}.part").stat().st_size == 1000


def test_nobody_listens(serve, target):
    assert "the connection failed" in refusal(SimpleNamespace(url="http://127.0.0.1:1"), target)


def test_a_web_page_is_named_and_costs_nothing_that_was_received(serve, target):
    page = b"<!DOCTYPE html><html><title>Sign in to the network</title>" + b"x" * 9000
    site = serve(content=page, content_type="text/html; charset=utf-8")
    assert "a web page titled 'Sign in to the network'" in refusal(site, target)
    assert leftovers(target) == []
    site = serve(cuts=[50_000])
    refusal(site, target, retries=0)
    site.content, site.etag, site.content_type = page, None, "text/html"
    assert "a web page" in refusal(site, target)
    site.content, site.etag = CONTENT, '"one"'
    get(site, target)
    assert site.asked[-1]["Range"] == "bytes=50000-"
    assert target.read_bytes() == CONTENT


def test_what_is_not_gzip_is_refused(serve, target):
    assert "begins with '{\"overall\": 5.0}'" in refusal(serve(content=b'{"overall": 5.0}'), target)
    assert "an empty file" in refusal(serve(content=b""), target)


def test_a_damaged_gzip_is_removed_and_fetched_anew(serve, target):
    middle = len(CONTENT) // 2
    site = serve(content=CONTENT[:middle] + bytes([CONTENT[middle] ^ 1]) + CONTENT[middle + 1 :])
    assert "no whole gzip file" in refusal(site, target)
    assert leftovers(target) == []
    site.content = CONTENT
    get(site, target)
    assert target.read_bytes() == CONTENT


def test_redirects_are_followed_to_http_alone(serve, target):
    site = serve()
    moved = serve(faults=[(302, {"Location": f"{site.url}/elsewhere.gz"})], cuts=[0])
    get(moved, target)
    assert site.asked[0]["path"] == "/elsewhere.gz"
    target.unlink()
    for address in ("ftp://127.0.0.1/x.gz", "file://elsewhere/x.gz"):
        text = refusal(serve(faults=[(302, {"Location": address})]), target)
        assert address in text
    assert "redirect" in refusal(serve(faults=[(302, {"Location": "/x"})] * 30), target)


def test_the_disk_is_looked_at_before(serve, target, monkeypatch):
    site = serve()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=transfer.SPARE_BYTES + 100_000))
    assert "300.1 kB more are needed" in refusal(site, target)
    assert leftovers(target) == []


def test_a_write_that_fails_is_not_tried_again(serve, target, monkeypatch):
    def full(part, data):
        raise OSError(28, "No space left on device")

    site = serve()
    monkeypatch.setattr(parts.Part, "append", full)
    assert "No space left on device" in refusal(site, target)
    assert len(site.asked) == 1


def test_a_killed_download_is_resumed_and_locked_while_it_lives(serve, tmp_path):
    folder = tmp_path / "landing"
    part = folder / f"{NAME}.part"
    site = serve(cuts=[200_000], stall=threading.Event())
    options = ["--dataset", "Industrial_and_Scientific", "--into", str(folder), "--base-url", site.url, "--no-metadata"]
    process = subprocess.Popen([sys.executable, "-m", "orchestration.commands.download", *options], cwd=REPOSITORY)
    try:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size == 200_000):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(DownloadError, match="another process is downloading"):
            fetch(f"{site.url}/categoryFilesSmall/{NAME}", folder / NAME)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert part.stat().st_size == 200_000
    site.stall.set()
    assert main(options) == 0
    assert (folder / NAME).read_bytes() == CONTENT
    assert site.asked[-1]["Range"] == "bytes=200000-"
    assert site.sent == [200_000, len(CONTENT) - 200_000]
    assert os.listdir(folder) == [NAME]


def test_the_command_fetches_reviews_and_metadata(serve, tmp_path, monkeypatch, capsys):
    site = serve()
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setenv("RAW2RANK_DOWNLOAD_URL", f"{site.url}/mirror/")
    assert main(["--dataset", "Industrial_and_Scientific"]) == 0
    folder = tmp_path / "landing" / "Industrial_and_Scientific"
    assert sorted(os.listdir(folder)) == [NAME, "meta_Industrial_and_Scientific.json.gz"]
    assert [request["path"] for request in site.asked] == [
        f"/mirror/categoryFilesSmall/{NAME}",
        "/mirror/metaFiles2/meta_Industrial_and_Scientific.json.gz",
    ]
    assert "next: make run DATASET=Industrial_and_Scientific\n" in capsys.readouterr().out
    # the second kind of reviews is not fetched beside the first
    assert main(["--dataset", "Industrial_and_Scientific", "--all"]) == 1
    assert f"holds {NAME}, and Industrial_and_Scientific.json.gz beside it" in capsys.readouterr().err
    assert main(["--dataset", "Industrial_and_Scientific"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert main(["--dataset", "Industrial_Scientific"]) == 1
    assert "the nearest: Industrial_and_Scientific" in capsys.readouterr().err


def test_addresses_of_the_releases():
    assert wanted_urls("Beauty", "2014") == [
        "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_Beauty_5.json.gz",
        "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/meta_Beauty.json.gz",
    ]
    assert wanted_urls("Books", "2018", core=False, metadata=False) == [
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/categoryFiles/Books.json.gz"
    ]
    assert wanted_urls("Gift_Cards", "2023", base_url="http://mirror:8000/x/") == [
        "http://mirror:8000/x/raw/review_categories/Gift_Cards.jsonl.gz",
        "http://mirror:8000/x/raw/meta_categories/meta_Gift_Cards.jsonl.gz",
    ]
    with pytest.raises(DownloadError, match="no file of 5-core reviews"):
        wanted_urls("Gift_Cards", "2023", core=True)
    with pytest.raises(DownloadError, match="starts with http"):
        wanted_urls("Books", "2018", base_url="file://elsewhere/dumps")


def test_categories_and_their_nearest_names():
    assert {name: len(release.categories) for name, release in RELEASES.items()} == {"2014": 24, "2018": 29, "2023": 34}
    for release in RELEASES:
        for category in RELEASES[release].categories:
            check_category(category, release)
    for slip, release, near in (
        ("industrial and scientific", "2018", "Industrial_and_Scientific"),
        ("Amazon_Fashion", "2018", "AMAZON_FASHION"),
        ("Scientific", "2023", "Industrial_and_Scientific"),
        ("Beauty", "2018", r"\(the release 2014 has\); the nearest: .*All_Beauty"),
        ("zzz", "2014", "it has: Amazon_Instant_Video, Apps_for_Android"),
    ):
        with pytest.raises(DownloadError, match=near):
            check_category(slip, release)


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("Books.json.gz", "Books_5.json.gz"),
        ("reviews_Books_5.json.gz", "reviews_Books.json.gz"),
        ("Books_5.json.gz", "Books.jsonl.gz"),
    ],
)
def test_two_files_of_reviews_do_not_lie_in_one_folder(tmp_path, there, wanted):
    (tmp_path / there).write_bytes(b"")
    check_no_other_reviews(tmp_path, "Books", there)
    with pytest.raises(DownloadError, match="would count reviews twice"):
        check_no_other_reviews(tmp_path, "Books", wanted)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_progress(stream, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setenv("COLUMNS", "100")
    progress = Progress(stream, seconds=10)
    progress.start(f"{'long_' * 30}X.json.gz" if stream.isatty() else "X.json.gz", 1_000_000, 1_000_000_000)
    for second in range(1, 21):
        now[0] = 100.0 + second
        progress.update(1_000_000 + second * 5_000_000)
    progress.note("done")
    written = stream.getvalue()
    lines = re.split("[\r\n]", written)
    assert any(line.endswith("X.json.gz: 51.0 MB of 1.0 GB (5%), 5.0 MB/s, 3 min 10 s left") for line in lines)
    assert written.endswith("done\n")
    assert max(map(len, lines)) < 100
    assert written.count("\n") == (1 if stream.isatty() else 3)
