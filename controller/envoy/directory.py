"""Writes the files of a plan so that Envoy never sees half of one, and never a name without what it stands
for.

Envoy reads a file when another is renamed to its name. Between two renames it has read some files and not yet
others, so the order counts. First comes what nobody reads yet: credentials, pools' routes, and the endpoints
of new clusters. Then clusters and listeners, the former ones still among them; then the weights that have
changed; then the route table. Only then are clusters and listeners removed that nothing names any more, and
last their files. Files whose bytes stay the same are left alone.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from controller.envoy.pools import POOLS, SECRETS
from controller.envoy.resources import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resources

_FOLDERS = (SECRETS, POOLS, ENDPOINTS)


class ResourceDirectory:
    """The directory of one Envoy. Nothing else may write into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._resources: Resources | None = None
        self._bytes: dict[str, bytes] = {}

    def write(self, resources: Resources) -> tuple[str, ...]:
        """Bring the files up to date; gives the names of those that were renamed, in this order. Raises
        OSError."""
        before, self._resources = self._resources, resources
        files, both = resources.files(), _with_former(resources, before).files()
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
            del self._bytes[name]


def _with_former(resources: Resources, before: Resources | None) -> Resources:
    """The new clusters and listeners beside those of the former plan that are no longer there."""
    if before is None:
        return resources
    return replace(
        resources,
        clusters=dict(sorted({**before.clusters, **resources.clusters}.items())),
        listeners=dict(sorted({**before.listeners, **resources.listeners}.items())),
    )
