"""The image of ``deploy/``: what its steps say, and what they make, without a container engine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from dockerfile import Replay, copied, read, variables

from orchestration.execution.training_pods import USER

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
LOCKS = ("requirements.lock", "deploy/kubernetes/kubernetes.lock")
# folders of the image that its steps name
FOLDERS = ("/build", "/opt", "/workspace")
BUILD, FINAL = read(DOCKERFILE)


def from_context() -> list[str]:
    return [source for text in BUILD.all("COPY") for source in copied(text).sources]


def test_the_image_holds_the_environment_of_the_first_stage_and_no_source() -> None:
    assert BUILD.name == "build"
    assert BUILD.base == FINAL.base, "an environment works with the Python that made it"
    (step,) = map(copied, FINAL.all("COPY"))
    assert step.stage == "build"
    assert step.sources == (step.destination,), "an environment works at its place alone"


def test_what_is_copied_exists_and_is_in_the_context() -> None:
    ignored = [
        line for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines() if line[:1] != "#"
    ]
    assert ignored[0] == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    for source in from_context():
        assert (REPOSITORY / source).exists(), source
        assert source in let_in, f"{source} is kept from the build by Dockerfile.dockerignore"
    assert let_in == set(from_context())
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(from_context())


def test_every_library_is_pinned() -> None:
    installs = [shlex.split(text) for text in BUILD.all("RUN") if " install " in text]
    libraries, own = installs
    given = [libraries[place + 1] for place, part in enumerate(libraries) if part == "--requirement"]
    assert given == [Path(lock).name for lock in LOCKS]
    assert not set(libraries[libraries.index("install") + 1 :]) - {"--no-cache-dir", "--requirement", *given}
    assert {"--no-deps", "--no-build-isolation"} <= set(own), "neither libraries nor setuptools are fetched with it"
    pins = {}
    for lock in LOCKS:
        for line in (REPOSITORY / lock).read_text().splitlines():
            name, _, version = line.partition("==")
            assert version, f"{lock}: {line} names no version"
            assert name.lower() not in pins, f"{line} is in both"
            pins[name.lower()] = version
    assert "setuptools" in pins
    # both come from one release of Dagster
    assert pins["dagster-k8s"] == pins["dagster-postgres"]


def test_it_runs_as_a_user_who_owns_the_workspace_alone() -> None:
    (user,) = FINAL.all("USER")
    assert user == f"{USER}:{USER}", "by number: Kubernetes cannot see that a name is not root"
    assert FINAL.steps[-1].name == "USER", "nothing is done as another user"
    (made,) = FINAL.all("RUN")
    assert f"--uid {USER}" in made
    assert f"chown --recursive {USER}:{USER} /workspace" in made
    environment = {name: value for text in FINAL.all("ENV") for name, value in variables(text).items()}
    assert environment["RAW2RANK_HOME"] == "/workspace"
    assert environment["DAGSTER_HOME"].startswith("/workspace/")


@pytest.mark.installed
def test_the_steps_of_the_image_make_an_environment_that_works(tmp_path: Path) -> None:
    """All steps but those of the user, with the Python of the tests; about four minutes of processor time."""
    replay = Replay(tmp_path / "root", REPOSITORY, FOLDERS)
    replay.root.mkdir()
    replay.run(BUILD)
    replay.run(FINAL)
    environment = replay.root / "opt" / "raw2rank"
    packages = next(environment.glob("lib/python3*/site-packages"))
    before = {path for name in ("ml", "orchestration", "dbt_project") for path in (packages / name).rglob("*")}
    assert not (packages / "orchestration" / "pyproject.toml").exists()
    replay.shell("pip check")
    loaded = replay.shell(
        "python3 -c 'import dagster_k8s, dagster_postgres, orchestration.definitions as found; print(found.__file__)'"
    )
    assert loaded.stdout.strip() == str(packages / "orchestration" / "definitions.py")
    assert "Demo" in replay.shell("raw2rank check-data").stdout
    after = {path for name in ("ml", "orchestration", "dbt_project") for path in (packages / name).rglob("*")}
    assert after == before, "what is installed is not written to"
