"""Writes the files of a plan so that Envoy never sees half of one, and never a name without what it stands
for.

Envoy reads a file when another is renamed to its name. Between two renames it has read some files and not
yet others, so the order counts. What is added comes before what names it: credentials, a pool's routes,
cluster and listener, then the weights, then the route table. What is removed is left there until the route
table no longer names it, and goes last. Files whose bytes stay the same are left alone.
"""

import os
from pathlib import Path

from msgspec.structs import replace

from controller.envoy.pools import POOL_ROUTES, SECRETS
from controller.envoy.resources import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resources

_FIRST = (SECRETS, POOL_ROUTES, CLUSTERS, LISTENERS)


class ResourceDirectory:
    """The directory of one Envoy. Nothing else may write into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._resources: Resources | None = None
        self._bytes: dict[str, bytes] = {}

    def write(self, resources: Resources) -> tuple[str, ...]:
        """Bring the files up to date; gives the names of those that have changed, in the order in which they
        were renamed. Raises OSError."""
        before, self._resources = self._resources, resources
        files, both = resources.files(), _with_former(resources, before).files()
        names = self._rename(both, (*_FIRST, ENDPOINTS))
        names += self._rename(files, (ROUTES, ENDPOINTS, *reversed(_FIRST)))
        return tuple(names)

    def write_bootstrap(self, name: str, data: bytes) -> None:
        """The file that Envoy is started with. Raises OSError."""
        self._rename({name: data}, (name,))

    def is_complete(self) -> bool:
        """Whether every file is there, of this process or of one before it."""
        return all((self.path / name).exists() for name in (*_FIRST, ENDPOINTS, ROUTES))

    def _rename(self, files: dict[str, bytes], names: tuple[str, ...]) -> list[str]:
        changed = [name for name in names if self._bytes.get(name) != files[name]]
        for name in changed:
            target = self.path / name
            new = target.with_suffix(".new")
            with new.open("wb") as file:
                file.write(files[name])
                file.flush()
                os.fsync(file.fileno())
            new.replace(target)
            self._bytes[name] = files[name]
        return changed


def _with_former(resources: Resources, before: Resources | None) -> Resources:
    """The new resources beside those of the former plan that are no longer there."""
    if before is None:
        return resources
    return replace(
        resources,
        clusters=dict(sorted({**before.clusters, **resources.clusters}.items())),
        listeners=dict(sorted({**before.listeners, **resources.listeners}.items())),
        pool_routes=dict(sorted({**before.pool_routes, **resources.pool_routes}.items())),
        secrets=dict(sorted({**before.secrets, **resources.secrets}.items())),
        endpoints=dict(sorted({**before.endpoints, **resources.endpoints}.items())),
    )
