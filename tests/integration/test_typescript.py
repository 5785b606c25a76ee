"""The TypeScript client: its own tests under Node, and its types."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT
from tools.toolchains import INSTALL_MAX_S, NODE_FOR_TYPESCRIPT, node, node_packages

PACKAGE = ROOT / "clients" / "typescript"
RUN_MAX_S = 300.0


def run(*command: str | Path, cwd: Path, limit_s: float = RUN_MAX_S) -> str:
    """What a program prints, on both streams. It must end well."""
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False, timeout=limit_s
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_decides_as_the_python_client_does() -> None:
    """Every conformance vector gives here what it gives there, and its own tests pass. Node leaves out the
    types, so nothing is installed for this but Node."""
    tests = sorted((PACKAGE / "test").glob("*.test.ts"))
    assert tests
    run(node(NODE_FOR_TYPESCRIPT), "--test", *tests, cwd=PACKAGE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `npm run build` makes it, with what it is developed with beside it."""
    place = tmp_path_factory.mktemp("typescript")
    for name in ("src", "test"):
        shutil.copytree(PACKAGE / name, place / name)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(PACKAGE / name, place)
    (place / "node_modules").symlink_to(node_packages(PACKAGE) / "node_modules")
    compiler = place / "node_modules" / "typescript" / "bin" / "tsc"
    run(node(NODE_FOR_TYPESCRIPT), compiler, "-p", "tsconfig.json", cwd=place)
    return place


@pytest.mark.timeout(INSTALL_MAX_S + 2 * RUN_MAX_S)
def test_its_types_hold_and_it_can_be_packed(built: Path) -> None:
    """The strict compiler finds nothing, and what it writes can be imported as users of the package do."""
    run(node(NODE_FOR_TYPESCRIPT), "-e", "import('tieline').then(Object.keys)", cwd=built)
