"""Where downloads are kept between runs, and the directory that one run of the stack owns."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).parents[2]
OWNER = "owner.lock"


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache: `TIELINE_CACHE`, else `.cache` of the checkout this file is in, else `~/.cache/tieline`.

    The last follows `XDG_CACHE_HOME`. The directory need not exist yet.
    """
    if chosen := environ.get("TIELINE_CACHE"):
        return Path(chosen).expanduser().absolute()
    if (CHECKOUT / "script" / "_bootstrap").is_file():
        return CHECKOUT / ".cache"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tieline"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds `path` as a lock against every other process; waits for it. The kernel frees it if we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass
class Workplace:
    """One run's directory; a temporary one vanishes at release, or at the next start if its owner died."""

    path: Path
    temporary: bool
    _owner: IO[str]

    @classmethod
    def claim(cls, runs: Path, directory: Path | None = None) -> Workplace:
        """Takes `directory`, kept afterwards, or makes a new one under `runs`; removes what dead owners left.

        Raises BlockingIOError if another living process owns `directory`.
        """
        with exclusive(runs / ".lock"):
            remove_stale(runs)
            path = directory or Path(tempfile.mkdtemp(prefix="stack-", dir=runs))
            path.mkdir(parents=True, exist_ok=True)
            owner = (path / OWNER).open("a")
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner.close()
                raise
        return cls(path.absolute(), directory is None, owner)

    def release(self) -> None:
        """Gives the directory up; does nothing the second time."""
        if self._owner.closed:
            return
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        self._owner.close()


def remove_stale(runs: Path) -> list[Path]:
    """Removes the directories under `runs` whose owner is gone. The lock tells: it ends with the process."""
    removed = []
    for path in sorted(runs.glob("stack-*")):
        if _is_owned(path):
            continue
        shutil.rmtree(path, ignore_errors=True)
        removed.append(path)
    return removed


def _is_owned(path: Path) -> bool:
    try:
        with (path / OWNER).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such directory any more, or not ours to touch
        return not os.access(path, os.W_OK)
    return False
