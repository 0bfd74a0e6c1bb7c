"""The real web server of Dagster behind the guard, and what the UI links to."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.testclient import TestClient

from orchestration.commands import ui
from orchestration.commands.listening import listen
from orchestration.commands.run import configure_instance
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.paths import Workspace

TOKEN = "a-token-of-this-test-alone"
HOME = "http://127.0.0.1:3000"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    configure_instance(workspace)
    return workspace


@pytest.fixture
def context(workspace: Workspace) -> Iterator[WorkspaceProcessContext]:
    with (
        open_instance(workspace.dagster_home) as instance,
        WorkspaceProcessContext(instance, workspace_load_target=EmptyWorkspaceTarget(), version="test") as context,
    ):
        yield context


def delete(run_id: str) -> str:
    return f'mutation {{ deleteRun(runId: "{run_id}") {{ __typename }} }}'


def runs(context: WorkspaceProcessContext) -> set[str]:
    return {run.run_id for run in context.instance.get_runs()}


def test_a_record_is_wiped_by_nobody_without_the_token(context: WorkspaceProcessContext, workspace: Workspace) -> None:
    one, other = (context.instance.add_run(dg.DagsterRun(job_name="data")).run_id for _ in range(2))
    bare = TestClient(create_app_from_workspace_process_context(context), base_url="http://evil.example")
    # what the guard is for: as Dagster comes, an image on a foreign page does it
    bare.get("/graphql", params={"query": delete(one)}, headers={"Origin": "http://evil.example"})
    assert runs(context) == {other}

    guarded = ui.guarded_app(context, workspace, TOKEN, 3000)
    foreign = TestClient(guarded, base_url="http://evil.example")
    unknown = TestClient(guarded, base_url=HOME)
    known = TestClient(guarded, base_url=HOME)
    assert known.get("/", params={"token": TOKEN}).status_code == 200
    assert foreign.get("/graphql", params={"query": delete(other)}).status_code == 403
    assert unknown.get("/graphql", params={"query": delete(other)}).status_code == 401
    assert unknown.post("/graphql", json={"query": delete(other)}).status_code == 401
    assert known.get("/graphql", params={"query": delete(other)}).status_code == 405
    assert known.post("/graphql", params={"query": delete(other)}).status_code == 415
    assert runs(context) == {other}

    answer = known.post("/graphql", json={"query": delete(other)})
    assert answer.json()["data"]["deleteRun"] == {"__typename": "DeletePipelineRunSuccess"}
    assert runs(context) == set()
    assert known.get("/graphql", params={"query": "{ version }"}).json() == {"data": {"version": "test"}}


def test_the_report_is_served_beside_the_ui_and_behind_the_guard(
    context: WorkspaceProcessContext, workspace: Workspace
) -> None:
    paths = workspace.dataset("Small")
    paths.report.parent.mkdir(parents=True)
    paths.report.write_text("<h1>Report</h1>")
    app = ui.guarded_app(context, workspace, TOKEN, 3000)
    assert TestClient(app, base_url=HOME).get(paths.report_url).status_code == 401
    known = TestClient(app, base_url=HOME, headers={"Authorization": f"Bearer {TOKEN}"})
    assert known.get(paths.report_url).text == "<h1>Report</h1>"
    assert "make check-data DATASET=Small" in known.get(paths.data_docs_url).text
    # the pages of the UI itself
    assert "__next" in known.get("/assets/evaluation/report").text


def test_a_port_that_is_taken_is_said(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    with listen(0, ui.HOST, "make ui") as taken:
        assert ui.main(["--port", str(taken.getsockname()[1])]) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: port ")
    assert "PORT=3001" in said
    assert said.count("\n") == 1


def test_a_token_of_ones_own_is_no_short_one(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setenv(ui.TOKEN_VARIABLE, "secret")
    assert ui.main(["--port", "0"]) == 1
    assert "16 are the least" in capfd.readouterr().err
