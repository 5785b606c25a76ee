"""The wheels, installed into an environment of their own, run from any directory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.integration.controllers import environment, settings_of
from tests.places import EXAMPLE_POLICY, ROOT
from tests.waiting import until

HOMES = {  # what each wheel must hold: folders of the repository, and what is cut off their paths
    "tieline": (("client/tieline",), "client/"),
    "tieline_controller": (("controller", "gateway", "picker", "streams"), ""),
    "tieline_lab": (("lab",), ""),
}
NOT_SHIPPED = {"lab/pyproject.toml"}
FORGOTTEN = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all wheels, as `script/wheels` builds them."""
    place = tmp_path_factory.mktemp("wheels")
    done = subprocess.run([ROOT / "script" / "wheels", place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def program(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tieline` of a new environment into which the command of docs/installing.md installed it.

    Its packages are those of the lock, out of the cache that filled .venv, so nothing is fetched.
    """
    place = tmp_path_factory.mktemp("installed") / "venv"
    uv = Path(sys.executable).parent / "uv"
    steps = (
        [uv, "venv", "--quiet", "--python", sys.executable, place],
        [
            *(uv, "pip", "install", "--quiet", "--offline", "--python", place / "bin" / "python"),
            *("--find-links", wheels, "--constraint", ROOT / "requirements.lock"),
            "tieline-controller[picker]",
        ],
    )
    for step in steps:
        done = subprocess.run(list(map(str, step)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return place / "bin" / "tieline"


@pytest.mark.parametrize("name", HOMES)
def test_wheels_hold_every_file(wheels: Path, name: str) -> None:
    """Also those that are no Python: stored scripts, pages, and the mark of typed packages."""
    folders, prefix = HOMES[name]
    listed = subprocess.run(
        ["git", "ls-files", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {path.removeprefix(prefix) for path in listed.stdout.split() if path not in NOT_SHIPPED}
    [wheel] = wheels.glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {path for path in archive.namelist() if ".dist-info/" not in path}
    assert tracked - files == set()
    assert all(path.split("/")[0] in {folder.removeprefix(prefix) for folder in folders} for path in files)


GATEWAY = """
workloads: [{workload: chat, origins: [eu]}]
tokens: [{name: search, secret: {env: SEARCH_TOKEN}}]
"""


def test_gateway_envoy_and_picker_run_from_the_wheels(program: Path, tmp_path: Path) -> None:
    """Each checks its file or shows its help, and the picker's gRPC server has the packages of its extra."""
    gateway = tmp_path / "gateway.yaml"
    gateway.write_text(GATEWAY)
    for command in (
        (program, "gateway", "--config", gateway, "--check"),
        (program, "picker", "--config", ROOT / "examples" / "picker.yaml", "--check"),
        (program, "envoy", "--help"),
        (program.parent / "python", "-c", "import gateway.worker, picker.run"),
    ):
        done = subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env={"SEARCH_TOKEN": "of-at-least-16-characters"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def commands(settings: object) -> dict[str, str]:
    """The surroundings of an installed program: nothing of this checkout is on its path."""
    return {name: value for name, value in environment(settings).items() if name not in FORGOTTEN}  # type: ignore[arg-type]


async def test_an_installed_controller_leads_from_any_directory(
    program: Path, kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """It leads, decides and publishes in an empty directory, and `tieline status` beside it shows that."""
    variables = commands(settings_of(kafka_bootstrap, redis_url, prefix))

    async def run(*arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            program,
            *arguments,
            cwd=tmp_path,
            env=variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    version = await run("--version")
    out, _ = await version.communicate()
    assert out.startswith(b"tieline 0.")
    policy = await run("policy", "check", str(EXAMPLE_POLICY))
    out, _ = await policy.communicate()
    assert policy.returncode == 0, out.decode()
    controller = await run("controller")
    try:

        async def is_shown() -> bool:
            status = await run("status", "--json")
            shown, _ = await status.communicate()
            return b'"generation":"multicloud-1:' in shown

        await until(is_shown, what="the status of the installed controller")
    finally:
        controller.terminate()
        out, _ = await controller.communicate()
    assert controller.returncode == 0, out.decode()[-3_000:]
    assert list(tmp_path.iterdir()) == []
