"""Docker and compose as functions, for the drill of `tools/containers.py`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

FILE = Path(__file__).parents[1] / "docker" / "compose.yaml"
WITHIN_S = 240
KAFKA_PORT = 9094
ERROR_LINES = 3
COMMAND_WORDS_SHOWN = 8


class CommandError(Exception):
    """A command failed; the message ends with the last lines that it wrote."""


class Compose:
    """The compose command for one file: ``compose("ps", "-q")`` runs it and returns its output."""

    def __init__(self, command: Sequence[str], file: Path) -> None:
        self._command = [*command, "--progress", "quiet", "-f", str(file)]
        self.kafka = f"127.0.0.1:{os.environ.get('KAFKA_PORT', KAFKA_PORT)}"

    def __call__(self, *arguments: str, accepts: tuple[int, ...] = (0,)) -> str:
        """Raises CommandError when the command ends with a status that is not in ``accepts``."""
        return _output([*self._command, *arguments], accepts).decode()

    def docker(self, *arguments: str) -> str:
        """Runs a command of the engine itself. Raises CommandError."""
        return _output(["docker", *arguments]).decode()

    def containers(self, *services: str, running: bool = False) -> list[str]:
        """The ids of the services' containers; also of those that have ended, unless ``running``."""
        flags = [] if running else ["-a"]
        return self("ps", "-q", *flags, *services).split()

    def images(self) -> list[str]:
        """Every image that the file names, once, sorted."""
        return sorted(set(self("config", "--images").split()))


def files_of(image: str) -> Iterator[str]:
    """The name of every file in every layer, also of those that a later layer removes."""
    with tarfile.open(fileobj=io.BytesIO(_output(["docker", "save", image]))) as archive:
        (manifest,) = json.loads(_read(archive, "manifest.json"))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(_read(archive, layer))) as files:
                yield from files.getnames()


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise CommandError(f"docker save wrote no file {name}")
    return file.read()


def _output(command: list[str], accepts: tuple[int, ...] = (0,)) -> bytes:
    process = subprocess.run(command, capture_output=True, timeout=WITHIN_S, check=False)
    if process.returncode not in accepts:
        last_lines = process.stderr.decode(errors="replace").strip().splitlines()[-ERROR_LINES:]
        words = " ".join(command[:COMMAND_WORDS_SHOWN])
        raise CommandError(f"{words} ended with status {process.returncode}: {' | '.join(last_lines)}")
    return process.stdout
