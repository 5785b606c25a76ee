"""PURE. Which table may replace the one held: newer within the lineage, whole, of a known schema, not
empty."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tieline._routing.compile import Held
from tieline.table import Generation, Manifest, TableError, decode_manifest, decode_slice


class Fetched(Struct, frozen=True):
    """A table to apply, and its slices as bytes for the last good file."""

    held: Held
    raw: dict[str, bytes]


class Holder(Protocol):
    """Who holds the table: the client."""

    workload: str
    origin: str

    @property
    def held_generation(self) -> Generation | None: ...
    def heard(self) -> None: ...
    def failed(self, error: str) -> None: ...
    def overlay(self, data: bytes) -> None: ...
    def take(self, fetched: Fetched) -> None: ...


class Source(Protocol):
    """Where tables come from; ``run`` until cancelled."""

    async def run(self, holder: Holder) -> None: ...


def examine(
    data: bytes | None,
    parts: Mapping[str, bytes | None],
    *,
    workload: str,
    origins: Sequence[str],
    held: Generation | None,
) -> Fetched | None:
    """What was read, checked: a table to apply, or None when the one held is still the newest. ``parts``:
    route name -> bytes. Raises ``TableError``: then the table held stays."""
    if data is None:
        raise TableError("no route table has been published yet")
    manifest = decode_manifest(data)
    if not _follows(manifest, held):
        return None
    raw, slices = {}, {}
    for origin in origins:
        name = f"{workload}/{origin}"
        if name not in manifest.slices:
            raise TableError(f"the table has no route {name}; it has {_names(manifest)}")
        part = parts.get(name)
        if part is None:
            raise TableError(f"the slice {name} is missing")
        slices[origin] = decode_slice(part, manifest.slices[name])
        if slices[origin].route.name != name:
            raise TableError(f"the slice {name} holds {slices[origin].route.name}")
        raw[origin] = part
    return Fetched(Held(manifest.generation, slices, _urgent(manifest, held)), raw)


def _follows(manifest: Manifest, held: Generation | None) -> bool:
    found = manifest.generation
    if held is not None and found.lineage != held.lineage:
        raise TableError(
            f"LINEAGE: the source has {found}; this client holds {held} and keeps it until that is adopted"
        )
    return found.newer_than(held)


def _urgent(manifest: Manifest, held: Generation | None) -> bool:
    if held is None:
        return False
    if manifest.generation.epoch == held.epoch:
        return manifest.urgent_seq > held.seq
    return manifest.urgent_seq > 0


def _names(manifest: Manifest) -> str:
    names = sorted(manifest.slices)
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
