"""PURE. Which table may replace the one in force: newer within its lineage, complete, and undamaged."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from tieline._routing.slices import ClientTable
from tieline.signatures import manifest_flaw
from tieline.table import Generation, Manifest, SignedManifest, TableError, decode_manifest, decode_slice

# How sources look for news. Waits are random within their bounds, so that many clients spread their reads.
POLL_MIN_S, POLL_MAX_S = 1.0, 2.0
JITTER_MAX_S = 0.2  # after a hint of a table that is not urgent
FILE_POLL_S = 1.0
SILENT_MS = 5_000  # a leader confirms its table once a second, and a take-over lasts less than this
UNCONFIRMED = "no controller has confirmed the table for 5 s: they have stopped, or can't write there"


class TableUpdate(Struct, frozen=True):
    """A table that may be put in force. For the last good file: its slices as bytes by origin, and the
    manifest that they came with."""

    table: ClientTable
    raw: dict[str, bytes]
    proof: SignedManifest | None = None


class TableTrust(Struct, frozen=True):
    """Which tables a client believes: those that one of the ``accepted`` public keys signed for this
    ``namespace``, or without keys all. Of their pools it uses those on ``pool_hosts``, or without any all."""

    accepted: Mapping[str, Any] = {}
    namespace: str = ""
    pool_hosts: tuple[str, ...] = ()

    def require(self, signed: SignedManifest) -> None:
        """Raise ``TableError`` unless one of the keys signed this manifest."""
        if self.accepted and (flaw := manifest_flaw(signed, self.accepted, self.namespace)):
            raise TableError(f"the table is {flaw}: it is not used (controller_keys)")

    def strangers(self, table: ClientTable) -> tuple[str, ...]:
        """The pools whose URL names a host that requests must not go to."""
        if not self.pool_hosts:
            return ()
        infos = {info.pool: info.url for part in table.parts.values() for info in part.pools}
        return tuple(sorted(pool for pool, url in infos.items() if not self._is_allowed(url)))

    def _is_allowed(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port  # without a user's name, which may hold a colon
        except ValueError:
            return False
        place = host if port is None else f"{host}:{port}"
        return any(fnmatchcase(place if ":" in pattern else host, pattern) for pattern in self.pool_hosts)


ANY_TABLE = TableTrust()


class Subscriber(Protocol):
    """What a source of tables reports to. All methods are called in the client's event loop.

    After each successful read a source calls ``overlay``, then ``take`` if there is a newer table, then
    ``heard``. When a read fails, or what was read must not be used, it calls ``failed``.
    """

    workload: str
    origin: str
    trust: TableTrust

    @property
    def held_generation(self) -> Generation | None:
        """The generation in force, None without a table."""
        ...

    def heard(self, silent_ms: int = 0) -> None:
        """The source was read, and the table in force is its newest. ``silent_ms``: for how long no
        controller has confirmed that, as a server that is cut off from them answers all the same."""
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


def signed_manifest(manifest: bytes | None, signature: bytes | None) -> SignedManifest | None:
    """What was read in Redis; None where there is no manifest."""
    if manifest is None:
        return None
    return SignedManifest(manifest, (signature or b"").decode("ascii", "replace"))


def examine(
    signed: SignedManifest | None,
    parts: Mapping[str, bytes | None],
    *,
    workload: str,
    origins: Sequence[str],
    in_force: Generation | None,
    trust: TableTrust = ANY_TABLE,
) -> TableUpdate | None:
    """Check what a source has. Returns the table to apply, or None when the one in force is not older.

    ``parts``: bytes of slices by route name (``workload/origin``). Raises ``TableError`` for what must not be
    used: no manifest, another lineage, a slice that is missing or damaged, a manifest that none of the
    keys of ``trust`` signed. The manifest has the checksum of every slice, so its signature covers them too.
    """
    if signed is None:
        raise TableError("no route table has been published yet")
    manifest = decode_manifest(signed.manifest)
    if not _is_newer(manifest, in_force):
        return None
    trust.require(signed)
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
    return TableUpdate(ClientTable(manifest.generation, slices, _is_urgent(manifest, in_force)), raw, signed)


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
