"""Writes the files of a plan so that Envoy never sees half of one, and never a name without what it stands
for.

Envoy reads a file when another is renamed to its name. Between two renames it has read some files and not yet
others, so the order counts. First comes what nobody reads yet: credentials, pools' routes, and the endpoints
of new clusters. Then clusters and listeners, the former ones still among them; then the weights that have
changed; then the route table. Only then are clusters and listeners removed that nothing names any more, and
last their files. Files whose bytes stay the same are left alone.
"""

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from controller.envoy.pools import POOLS, SECRETS
from controller.envoy.resources import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resources, with_former
from controller.envoy.shapes import Resource, file_of
from controller.process.telemetry import logger

WATCHERS_MAX = Path("/proc/sys/fs/inotify/max_user_instances")
_FOLDERS = (SECRETS, POOLS, ENDPOINTS)


class ResourceDirectory:
    """The directory of one Envoy. Nothing else may write into it."""

    def __init__(self, path: Path, watchers_max: int | None = None) -> None:
        """``watchers_max``: the inotify instances that one user may have, by default as this machine says."""
        self._watchers_max = watchers_max if watchers_max is not None else _allowed_watchers()
        self._watchers_warned = 0
        self._log = logger("envoy")
        self.path = path
        self._resources: Resources | None = None
        self._bytes: dict[str, bytes] = {}
        self._encoded: dict[str, tuple[list[Resource], bytes]] = {}

    async def put(self, resources: Resources, *, has_table: bool) -> tuple[str, ...]:
        """``write`` beside the event loop. Without a table nothing takes the place of files of a process
        before this one: they are better than an answer that there is no table."""
        if not has_table and self._resources is None and await asyncio.to_thread(self.is_complete):
            return ()
        self._warn_of_watchers(resources.watchers())
        return await asyncio.to_thread(self.write, resources)

    def write(self, resources: Resources) -> tuple[str, ...]:
        """Bring the files up to date; gives the names of those that were renamed, in this order. Raises
        OSError."""
        before, self._resources = self._resources, resources
        files = resources.files(self._encode)
        both = with_former(resources, before).files(self._encode)
        single = [name for folder in _FOLDERS for name in files if name.startswith(f"{folder}/")]
        unread = [name for name in single if not name.startswith(ENDPOINTS) or name not in self._bytes]
        names = self._rename(files, unread)
        names += self._rename(both, (CLUSTERS, LISTENERS))
        names += self._rename(files, (*single, ROUTES, LISTENERS, CLUSTERS))
        self._remove(set(self._bytes) - files.keys())
        return tuple(names)

    def write_bootstrap(self, name: str, data: bytes) -> None:
        """The file that Envoy is started with. Raises OSError."""
        self._write(name, data)

    def is_complete(self) -> bool:
        """Whether Envoy could start, by files of this process or of one before it."""
        return all((self.path / name).exists() for name in (CLUSTERS, LISTENERS, ROUTES))

    def _warn_of_watchers(self, needed: int) -> None:
        """Envoy ends itself when the kernel refuses it an inotify instance."""
        if needed <= self._watchers_warned or needed <= self._watchers_max:
            return
        self._watchers_warned = needed
        self._log.warning(
            "Envoy needs more inotify instances than this machine allows a user, and ends without them: "
            "raise fs.inotify.max_user_instances, or let it ask (--listen)",
            needed=needed,
            allowed=self._watchers_max,
        )

    def _encode(self, name: str, rows: list[Resource]) -> bytes:
        """The bytes of a file, made anew only where a resource is another object than before."""
        former, data = self._encoded.get(name, ([], b""))
        if not data or len(former) != len(rows) or any(a is not b for a, b in zip(former, rows, strict=True)):
            data = file_of(rows)
            self._encoded[name] = rows, data
        return data

    def _rename(self, files: dict[str, bytes], names: Iterable[str]) -> list[str]:
        changed = [name for name in names if self._bytes.get(name) != files[name]]
        for name in changed:
            self._write(name, files[name])
            self._bytes[name] = files[name]
        return changed

    def _write(self, name: str, data: bytes) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_suffix(".new")
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)

    def _remove(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            (self.path / name).unlink(missing_ok=True)
            self._encoded.pop(name, None)
            del self._bytes[name]


def _allowed_watchers() -> int:
    """What this machine allows; without a word of it, as many as are needed."""
    try:
        return int(WATCHERS_MAX.read_text("ascii"))
    except (OSError, ValueError):
        return sys.maxsize
