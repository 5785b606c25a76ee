"""Kafka's classes in one file, as the JVM keeps them in memory: a start with it takes half the processor time.

The JVM here comes without such a file even for its own classes, so each start reads and checks seven thousand of
them. `python -m lab.stack.class_archive` makes the file ahead of the first start, once for each JVM and set of
jars, for whoever starts Kafka often, as tests do. It is made of jars that were checked a moment ago. The JVM checks
its sum at each start, and whether it fits the jars; where it doesn't, the JVM reads the jars themselves.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.errors import StackError
from lab.stack.cache import cache_directory, exclusive
from lab.stack.jars import Say, ensure_jars
from lab.stack.kafka import JVM, Kafka, class_archive_path, java

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
        [str(java()), *JVM, *flags, "-cp", os.pathsep.join(map(str, jars))],
        capture_output=True,
        text=True,
        timeout=DUMP_WITHIN_S,
        check=False,
    )
    if done.returncode or not archive.is_file():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise StackError(
            f"the JVM could not keep Kafka's classes in a file: {''.join(last) or done.returncode}"
        )


def main() -> int:
    """Makes the file for the jars in the cache. A stack starts without it too, so a failure is only told."""

    def say(progress: str) -> None:
        print(progress, file=sys.stderr, flush=True)

    try:
        ensure_class_archive(ensure_jars(cache_directory(), say), say)
    except StackError as error:
        say(f"tieline: {error}; Kafka will start more slowly")
    return 0


if __name__ == "__main__":
    sys.exit(main())
