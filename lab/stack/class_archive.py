"""Kafka's classes in one file, as the JVM keeps them in memory: a start takes half the processor time.

The JVM here comes without such a file even for its own classes, so each start reads and checks seven
thousand of them. `python -m lab.stack.class_archive` fetches the jars and makes the file ahead of the first
start, once for each JVM and set of jars, for whoever starts Kafka often, as tests do. It is made of jars that
were checked a moment ago. The JVM checks its sum at each start, and whether it fits the jars; where it
doesn't, the JVM reads the jars themselves.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.errors import ChildError, StackError
from lab.stack.cache import cache_directory, exclusive
from lab.stack.jars import Say, ensure_jars
from lab.stack.kafka import HEAP_ALONE, JVM, Kafka, class_archive_path, java

DUMP_WITHIN_S = 300


class ListingKafka(Kafka):
    """Notes in a file which classes its JVM loads."""

    def _java(self) -> list[str]:
        program, *words = super()._java()
        return [program, "-Xshare:off", f"-XX:DumpLoadedClassList={self.place / 'classes.txt'}", *words]


def ensure_class_archive(jars: Sequence[Path], say: Say) -> Path:
    """Makes the file if it isn't there, and returns its path. Raises StackError or ChildError."""
    archive = class_archive_path(jars)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(archive.parent / ".lock"):
        if not archive.is_file():
            say("noting which classes Kafka needs, for quicker starts")
            with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".making-") as place:
                _dump(asyncio.run(_classes(Path(place), jars)), Path(place) / archive.name, jars)
                (Path(place) / archive.name).replace(archive)
    return archive


async def _classes(place: Path, jars: Sequence[Path]) -> Path:
    """Starts a Kafka there, and returns the file with the names of the classes that it has loaded."""
    kafka = ListingKafka(place / "kafka", list(jars))
    try:
        await kafka.start()
    finally:
        await kafka.kill()
    return kafka.place / "classes.txt"


def _dump(classes: Path, archive: Path, jars: Sequence[Path]) -> None:
    """Has the JVM write these classes as it keeps them."""
    flags = ("-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={archive}")
    done = subprocess.run(
        [str(java()), HEAP_ALONE, *JVM, *flags, "-cp", os.pathsep.join(map(str, jars))],
        capture_output=True,
        text=True,
        timeout=DUMP_WITHIN_S,
        check=False,
    )
    if done.returncode or not archive.is_file():
        lines = (done.stdout + done.stderr).strip().splitlines() or [f"it ended with {done.returncode}"]
        raise StackError(f"the JVM could not write Kafka's classes into a file: {lines[-1]}")


def main() -> int:
    """Fetches the jars and makes their file. Returns the exit status: 1 if a jar can't be had. A stack starts
    without the file too, so it is only told why that can't be made."""

    def say(progress: str) -> None:
        sys.stderr.write(f"{progress}\n")

    try:
        jars = ensure_jars(cache_directory(), say)
    except StackError as error:
        say(f"tieline: {error}")
        return 1
    try:
        ensure_class_archive(jars, say)
    except (StackError, ChildError) as error:
        say(f"tieline: {error}; Kafka starts without them, and more slowly")
    return 0


if __name__ == "__main__":
    sys.exit(main())
