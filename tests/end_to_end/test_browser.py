"""A newcomer refreshes a dataset by clicking: lands a dump, switches the sensor on, and sees runs, checks, report, gate
and promotion.

The real UI with its daemon on a fresh workspace, in Chromium. Nothing of it is asked by another way than through pages.
``--screenshots=FOLDER`` keeps pictures of the walk; those of ``docs/images`` are made so.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import ABSENT, BROWSER, FLAGS

from ml.demo.dump import write_demo_dump
from ml.recommenders.registry import recipes_folder
from orchestration.automation.messages import SMTP_URL, WEBHOOK
from orchestration.automation.watch import HEARTBEAT, OVERDUE_HOURS
from orchestration.commands import ui
from orchestration.paths import RELEASES, REPORTS, REPOSITORY, Workspace
from orchestration.release import read_state

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(BROWSER is None, reason=ABSENT),
    pytest.mark.skipif(find_spec("playwright") is None, reason="Playwright is not installed: pip install '.[browser]'"),
]

DATASET = "Shop"
RECIPE = "tiny_softmax.toml"
TOKEN = "a-token-of-this-test-alone"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
SIZE = {"width": 1280, "height": 800}
ALERTS = (WEBHOOK, SMTP_URL, OVERDUE_HOURS, HEARTBEAT)
# milliseconds for a page, and for a run; they take far less on a machine that does nothing else
PAGE, RUN = 180_000, 1_800_000


def land(home: Path, share: float) -> None:
    """Put the demo dump, with the first so many of its reviews, into the landing folder of the dataset."""
    folder, beside = home / "landing" / DATASET, home / "dumps"
    beside.mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    reviews = write_demo_dump(beside, users=260, items=90).reviews
    lines = gzip.decompress(reviews.read_bytes()).splitlines(keepends=True)
    reviews.write_bytes(gzip.compress(b"".join(lines[: int(share * len(lines))]), mtime=0))
    for path in sorted(beside.iterdir()):
        path.rename(folder / path.name.replace("Demo", DATASET))
    beside.rmdir()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A folder with one recipe: the walk shows what happens around a training, and each training takes time."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    shutil.copy(recipes_folder() / RECIPE, folder)
    return folder


@pytest.fixture
def address(home: Path, recipes: Path, tmp_path: Path) -> Iterator[str]:
    """``raw2rank ui`` on a workspace in which a dump has landed; alerts are off."""
    land(home, 0.95)
    environment = {name: value for name, value in os.environ.items() if name not in ALERTS}
    environment |= {"RAW2RANK_HOME": str(home), "RAW2RANK_RECIPES": str(recipes), "PYTHONPATH": str(REPOSITORY)}
    environment[ui.TOKEN_VARIABLE] = TOKEN
    log = tmp_path / "ui.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "orchestration.commands.ui", "--port=0"],
            env=environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = next(filter(None, map(ADDRESS.search, process.stdout)), None)
            assert found is not None, log.read_text()
            yield f"{found[0]}?token={TOKEN}"
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def walk(request: pytest.FixtureRequest) -> Iterator[Walk]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=BROWSER, args=list(FLAGS)) as one:
        context = one.new_context(viewport=SIZE, device_scale_factor=1, reduced_motion="reduce")
        context.set_default_timeout(PAGE)
        yield Walk(context.new_page(), request.config.getoption("--screenshots"))


class Walk:
    """What a newcomer does in the UI."""

    def __init__(self, page: Page, pictures: str | None) -> None:
        self.page = page
        self.pictures = Path(pictures) if pictures else None

    def menu(self, name: str) -> None:
        """A page of the menu on the left."""
        self.page.locator(f'a[href="/{name}"]').first.click()

    def picture(self, name: str, page: Page | None = None) -> None:
        """Keep a page as a picture, in few colours; that of the UI where none is given."""
        if self.pictures is not None:
            from PIL import Image

            path = self.pictures / f"{name}.png"
            (page or self.page).screenshot(path=path, animations="disabled")
            with Image.open(path) as image:
                image.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(path, optimize=True)

    def groups(self) -> dict[str, float]:
        """The groups of the lineage, and how far right each is drawn."""
        self.menu("asset-groups")
        nodes = self.page.locator("svg foreignObject")
        nodes.filter(has_text="release").first.wait_for()
        return {node.text_content() or "": box["x"] for node in nodes.all() if (box := node.bounding_box()) is not None}

    def switch_on(self, sensor: str) -> None:
        self.menu("automation")
        self.page.get_by_role("link", name=sensor).click()
        switch = self.page.locator("tr", has_text="Running").locator("label")
        switch.click()
        self.page.locator("tr", has_text="Running").locator("input:checked").wait_for(state="attached")

    def runs_succeed(self, job: str, number: int) -> None:
        """Until so many runs of a job have succeeded and none is under way, on the page of runs."""
        from playwright.sync_api import expect

        self.menu("runs")
        rows = self.page.locator("tr, [class*=row]", has=self.page.locator(f'a[href*="/jobs/{job}"]'))
        succeeded = rows.get_by_text("Success", exact=True)
        expect(succeeded).to_have_count(number, timeout=RUN)
        assert rows.get_by_text("Failure", exact=True).count() == 0

    def asset(self, name: str) -> None:
        """Go to the page of an asset by the search of the UI."""
        self.page.get_by_text("Search", exact=True).first.click()
        self.page.get_by_placeholder("Search assets, jobs").fill(name)
        # the page below the dialog may have such a link itself
        self.page.locator('[class*="SearchDialog"]').locator(f'a[href*="/assets/{name}"]').first.click()
        self.page.wait_for_url(f"**/assets/{name}*")

    def follow(self, link: str, picture: str = "") -> str:
        """The text of a page that opens beside the UI by a link of its metadata; a picture of it may be kept."""
        with self.page.context.expect_page() as opened:
            self.page.locator(f'a[href*="{link}"]').first.click()
        page = opened.value
        page.wait_for_load_state()
        text = page.locator("body").inner_text()
        if picture:
            self.picture(picture, page)
        page.close()
        return text

    def launch(self, job: str) -> None:
        """Launch a job for the dataset, by its launchpad."""
        self.menu("jobs")
        self.page.locator(f'a[href$="/jobs/{job}"]').first.click()
        self.page.locator(f'a[href$="/jobs/{job}/playground"]').click()
        # until the list of partitions is there, a field stands in for it, and what is typed into that is lost
        self.page.get_by_role("img", name="sort_by_alpha").wait_for()
        self.page.get_by_placeholder("Partition").fill(DATASET)
        self.page.get_by_role("menuitem").filter(has_text=DATASET).first.click()
        self.page.get_by_role("button", name="Launch Run").click()
        self.page.wait_for_url("**/runs/*")
        self.page.get_by_text("Success", exact=True).first.wait_for(timeout=RUN)


def test_a_newcomer_refreshes_a_dataset_by_clicking(address: str, home: Path, walk: Walk) -> None:
    page = walk.page
    page.goto(address)
    assert TOKEN not in page.url

    # the lineage ends in the release
    groups = walk.groups()
    assert {"raw", "landing", "marts", "training_sets", "models", "evaluation", "release"} <= groups.keys()
    assert max(groups, key=groups.__getitem__) == "release"
    assert min(groups, key=groups.__getitem__) == "raw"
    walk.picture("ui_lineage")

    # a sensor sees the dump that landed, and asks for a run
    walk.switch_on("new_dumps")
    walk.runs_succeed("all_recipes", 1)

    # the checks of an asset
    walk.asset("marts/interactions")
    page.locator('a[href*="view=checks"]').click()
    page.get_by_text("Passed", exact=True).first.wait_for()
    assert page.get_by_text("Failed", exact=True).count() == 0

    # the report
    walk.asset("evaluation/report")
    assert "Leaderboard" in walk.follow(f"/{REPORTS}/{DATASET}/")

    # the gate: the first release beats the most popular items
    walk.asset("release/decision")
    page.get_by_text("verdict").first.wait_for()
    assert "Promoted" in walk.follow(f"/{RELEASES}/{DATASET}/", "ui_decision")

    # another dump: the sensor sees it, and the gate decides again
    land(home, 1)
    walk.runs_succeed("all_recipes", 2)
    walk.asset("release/decision")
    decided = walk.follow(f"/{RELEASES}/{DATASET}/")
    assert "Promoted" in decided or "Refused" in decided
    assert "The champion was ranked again" in decided

    # by hand the other way: back to the first release, or forward to the candidate that was refused
    before = read_state(Workspace(home).dataset(DATASET)).release
    walk.launch("rollback" if "Promoted" in decided else "promote")
    walk.asset("release/champion")
    page.get_by_text("what was done").first.wait_for()
    assert read_state(Workspace(home).dataset(DATASET)).release not in ("", before)
