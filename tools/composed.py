"""Docker and compose as functions, for the drill."""

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


class UnexpectedError(Exception):
    """A command failed; the message has its last words."""


class Compose:
    """``compose("ps", "-q")`` runs it and gives its output."""

    def __init__(self, command: Sequence[str], file: Path) -> None:
        self._command = [*command, "--progress", "quiet", "-f", str(file)]
        self.kafka = f"127.0.0.1:{os.environ.get('KAFKA_PORT', KAFKA_PORT)}"

    def __call__(self, *arguments: str) -> str:
        return _output([*self._command, *arguments]).decode()

    def docker(self, *arguments: str) -> str:
        """Of the engine itself."""
        return _output(["docker", *arguments]).decode()

    def containers(self, *services: str, running: bool = False) -> list[str]:
        """Ids; of ended ones as well unless only running ones are asked for."""
        flags = [] if running else ["-a"]
        return self("ps", "-q", *flags, *services).split()

    def images(self) -> list[str]:
        """Every image that the file names, once."""
        return sorted(set(self("config", "--images").split()))


def listed(image: str) -> Iterator[str]:
    """The name of every file in every layer, those that a later layer removes included."""
    with tarfile.open(fileobj=io.BytesIO(_output(["docker", "save", image]))) as saved:
        (manifest,) = json.loads(_read(saved, "manifest.json"))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(_read(saved, layer))) as files:
                yield from files.getnames()


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise UnexpectedError(f"{name} is no file")
    return file.read()


def _output(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=WITHIN_S, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise UnexpectedError(f"{' '.join(command[:8])} ended with {done.returncode}: {' | '.join(said)}")
    return done.stdout
