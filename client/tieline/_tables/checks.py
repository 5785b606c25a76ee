"""PURE. Which table may replace the one in force: newer within its lineage, complete, and undamaged."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tieline._routing.slices import ClientTable
from tieline.table import Generation, Manifest, TableError, decode_manifest, decode_slice

# How sources look for news. Waits are random within their bounds, so that many clients spread their reads.
POLL_MIN_S, POLL_MAX_S = 1.0, 2.0
JITTER_MAX_S = 0.2  # after a hint of a table that is not urgent
FILE_POLL_S = 1.0
SILENT_MS = 5_000  # a leader confirms its table once a second, and a take-over lasts less than this
UNCONFIRMED = "no controller has confirmed the table for 5 s: they have stopped, or can't write there"


class TableUpdate(Struct, frozen=True):
    """A table that may be put in force, and its slices as bytes by origin, for the last good file."""

    table: ClientTable
    raw: dict[str, bytes]


class Subscriber(Protocol):
    """What a source of tables reports to. All methods are called in the client's event loop.

    After each successful read a source calls ``overlay``, then ``take`` if there is a newer table, then
    ``heard``. When a read fails, or what was read must not be used, it calls ``failed``.
    """

    workload: str
    origin: str

    @property
    def held_generation(self) -> Generation | None:
        """The generation in force, None without a table."""
        ...

    def heard(self) -> None:
        """The source was read, and the table in force is its newest."""
        ...

    def failed(self, error: str) -> None:
        """The source could not be read, or what it has can't be used. ``error`` is for people."""
        ...

    def overlay(self, data: bytes) -> None:
        """What the source has where an emergency overlay would be; ``b""`` if there is nothing."""
        ...

    def take(self, update: TableUpdate) -> None:
        """A newer table."""
        ...


class TableSource(Protocol):
    """Where tables come from. ``run`` goes on until it is cancelled."""

    async def run(self, subscriber: Subscriber) -> None:
        """Follow the source and report to ``subscriber``."""
        ...


def examine(
    manifest_data: bytes | None,
    parts: Mapping[str, bytes | None],
    *,
    workload: str,
    origins: Sequence[str],
    in_force: Generation | None,
) -> TableUpdate | None:
    """Check what a source has. Returns the table to apply, or None when the one in force is not older.

    ``parts``: bytes of slices by route name (``workload/origin``). Raises ``TableError`` for what must not be
    used: no manifest, another lineage, a slice that is missing or damaged.
    """
    if manifest_data is None:
        raise TableError("no route table has been published yet")
    manifest = decode_manifest(manifest_data)
    if not _is_newer(manifest, in_force):
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
            raise TableError(f"the slice {name} holds the route {slices[origin].route.name}")
        raw[origin] = part
    return TableUpdate(ClientTable(manifest.generation, slices, _is_urgent(manifest, in_force)), raw)


def require_same_lineage(place: str, offered: Generation, in_force: Generation | None) -> None:
    """Raise ``TableError`` if ``offered``, which ``place`` has, belongs to another history of Kafka.

    Generations of two lineages can't be compared: neither follows the other.
    """
    if in_force is not None and offered.lineage != in_force.lineage:
        raise TableError(
            f"LINEAGE: {place} has {offered}; this client has {in_force} of another lineage and keeps it. "
            "If the new lineage is right, run `tieline adopt-lineage`"
        )


def _is_newer(manifest: Manifest, in_force: Generation | None) -> bool:
    if in_force is not None and in_force.lineage in manifest.parents:
        return True
    require_same_lineage("the source", manifest.generation, in_force)
    return manifest.generation.newer_than(in_force)


def _is_urgent(manifest: Manifest, in_force: Generation | None) -> bool:
    """Whether a forced move or a command was published since the generation in force."""
    if in_force is None:
        return False
    if manifest.generation.epoch == in_force.epoch:
        return manifest.urgent_seq > in_force.seq
    return manifest.urgent_seq > 0


def _names(manifest: Manifest) -> str:
    names = sorted(manifest.slices)
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
