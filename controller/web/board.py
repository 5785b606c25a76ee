"""What the endpoint serves: the newest table and overlay, in memory, encoded as callers ask for them."""

import asyncio
from dataclasses import dataclass, field, replace

from controller.web.plain import PlainTable, plain_table
from tieline.keys import MANIFEST_FIELD, SIGNATURE_FIELD, slice_field
from tieline.signatures import NO_KEYS, PublicKeys, manifest_flaw
from tieline.table import (
    Bundle,
    Generation,
    Manifest,
    SignedManifest,
    TableError,
    checksum,
    decode_manifest,
    decode_slice,
    encode_bundle,
    encode_manifest,
)

ENCODED_MAX_BYTES = 64 * 1024 * 1024  # kept of one generation


@dataclass(frozen=True, slots=True)
class ServedTable:
    """One generation, with the overlay that was there with it. ``parts`` are its slices by route name;
    ``signed``: the manifest as it lies in Redis, with the controllers' signature if they sign."""

    manifest: Manifest
    parts: dict[str, bytes]
    overlay: bytes = b""
    signed: SignedManifest | None = None
    _encoded: dict[tuple[str, tuple[str, ...]], bytes] = field(default_factory=dict)

    @property
    def generation(self) -> Generation:
        """The table's generation."""
        return self.manifest.generation

    @property
    def etag(self) -> str:
        """In quotes; it changes with the table and with the overlay."""
        mark = f"+{checksum(self.overlay)[:16]}" if self.overlay else ""
        return f'"{self.generation}{mark}"'

    def is_urgent_after(self, before: "ServedTable") -> bool:
        """Whether a reader that has ``before`` misses a forced move, an order or another overlay."""
        if before.overlay != self.overlay:
            return True
        if self.generation.epoch == before.generation.epoch:
            return self.manifest.urgent_seq > before.generation.seq
        return self.manifest.urgent_seq > 0

    def routes(self, workload: str, origins: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the workload's routes from these origins, or from all of them if none is given.

        Raises KeyError with the first route that the table does not have.
        """
        if not origins:
            names = tuple(sorted(name for name in self.manifest.slices if name.split("/")[0] == workload))
            if not names:
                raise KeyError(f"{workload}/*")
            return names
        names = tuple(f"{workload}/{origin}" for origin in sorted(set(origins)))
        for name in names:
            if name not in self.manifest.slices:
                raise KeyError(name)
        return names

    def bundle(self, names: tuple[str, ...]) -> bytes:
        """These routes for Tieline's own client, in the bytes whose checksums the manifest holds."""
        return self._encode("bundle", names)

    def json(self, names: tuple[str, ...]) -> bytes:
        """These routes for everybody else."""
        return self._encode("json", names)

    def _encode(self, kind: str, names: tuple[str, ...]) -> bytes:
        answer = self._encoded.get((kind, names))
        if answer is None:
            answer = self._bundle(names) if kind == "bundle" else self._plain(names).encoded()
            if len(answer) + sum(map(len, self._encoded.values())) <= ENCODED_MAX_BYTES:
                self._encoded[kind, names] = answer
        return answer

    def _bundle(self, names: tuple[str, ...]) -> bytes:
        slices = {name: self.parts[name] for name in names}
        if self.signed is not None and self.signed.signature:  # only the whole manifest is what was signed
            bundle = Bundle(
                self.signed.manifest, slices, overlay=self.overlay, signature=self.signed.signature
            )
            return encode_bundle(bundle)
        sums = {name: self.manifest.slices[name] for name in names}
        whole = self.manifest
        manifest = Manifest(
            self.generation,
            whole.made_ms,
            sums,
            urgent_seq=whole.urgent_seq,
            parents=whole.parents,
        )
        return encode_bundle(Bundle(encode_manifest(manifest), slices, self.overlay))

    def _plain(self, names: tuple[str, ...]) -> PlainTable:
        slices = [decode_slice(self.parts[name], self.manifest.slices[name]) for name in names]
        return plain_table(self.manifest, slices, self.overlay)


def newer_table(
    fields: dict[str, bytes],
    overlay: bytes,
    before: ServedTable | None,
    *,
    accepted: PublicKeys = NO_KEYS,
    namespace: str = "",
) -> ServedTable | None:
    """What to serve from now on, from the fields read in Redis; None when ``before`` is the newest. Pure.

    Within one lineage the table never goes back. Redis holds another lineage only once it was adopted there,
    and clients decide for themselves. Raises ``TableError`` for a damaged table, and with ``accepted`` keys
    for one that none of them signed for this namespace: ``before`` then stays.
    """
    data = fields.get(MANIFEST_FIELD)
    if data is None:
        raise TableError("no route table has been published yet")
    signed = SignedManifest(data, fields.get(SIGNATURE_FIELD, b"").decode("ascii", "replace"))
    manifest = decode_manifest(data)
    now, last = manifest.generation, before.generation if before is not None else None
    if before is not None and last is not None and now.lineage == last.lineage and not now.newer_than(last):
        return None if overlay == before.overlay else replace(before, overlay=overlay, _encoded={})
    if accepted and (flaw := manifest_flaw(signed, accepted, namespace)):
        raise TableError(f"the table in Redis is {flaw}")
    parts = {}
    for name, expected in manifest.slices.items():
        part = fields.get(slice_field(name))
        if part is None or checksum(part) != expected:
            raise TableError(f"the slice {name} is missing or damaged")
        parts[name] = part
    return ServedTable(manifest, parts, overlay, signed=signed)


class Board:
    """Holds what is served; ``next_change`` waits for something else to be served."""

    def __init__(self) -> None:
        self.served: ServedTable | None = None
        self._changed = asyncio.Event()
        self.heard_ms: int | None = None  # when a controller last confirmed the table, by the steady clock
        self.error = "Redis has not been read yet"

    def silent_ms(self, now_ms: int) -> int:
        """For how long no controller has confirmed the table, as far as can be seen here."""
        return now_ms - self.heard_ms if self.heard_ms is not None else 0

    def show(self, table: ServedTable) -> None:
        """Serves this table from now on."""
        self.served = table
        self._changed.set()
        self._changed = asyncio.Event()

    async def next_change(self) -> None:
        """Returns when another table is served than now."""
        await self._changed.wait()
