"""The cache of downloads that all runs share, and the directory that one run of the stack owns."""

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
    """`TIELINE_CACHE`; without it `.cache` of the checkout with this file; elsewhere `~/.cache/tieline`.

    The last follows `XDG_CACHE_HOME`. The directory need not exist yet.
    """
    if setting := environ.get("TIELINE_CACHE"):
        return Path(setting).expanduser().absolute()
    if (CHECKOUT / "script" / "_bootstrap").is_file():
        return CHECKOUT / ".cache"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tieline"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Waits until no other process holds the lock file `path`, and holds it.

    The kernel frees it if we die.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass
class RunDirectory:
    """The directory of one run.

    A temporary one is removed by `release`, or by the next run if the owner died.

    The owner holds a lock on a file in it, which the kernel frees when the owner dies.
    """

    path: Path
    temporary: bool
    _owner: IO[str]

    @classmethod
    def claim(cls, runs: Path, directory: Path | None = None) -> RunDirectory:
        """Claims `directory`, which is kept at the end, or a new temporary one under `runs`.

        Also removes the directories of dead owners. Raises BlockingIOError if a living process owns
        `directory`.
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
        """Gives the directory up. Does nothing the second time."""
        if self._owner.closed:
            return
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        self._owner.close()


def remove_stale(runs: Path) -> list[Path]:
    """Removes the directories under `runs` whose owner is gone: nobody holds their lock.

    Returns their paths.
    """
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
    except OSError:  # the directory is gone, or belongs to another user
        return not os.access(path, os.W_OK)
    return False
