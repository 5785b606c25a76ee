"""What the endpoint serves: the newest table and overlay it knows, as they are asked for.

Kept in memory, so that it goes on being served while Redis and every controller are away.
"""

import asyncio
from dataclasses import dataclass, field

from controller.web.plain import PlainTable, plain_table
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.table import (
    Bundle,
    Generation,
    Manifest,
    TableError,
    checksum,
    decode_manifest,
    decode_slice,
    encode_bundle,
    encode_manifest,
)

KEPT_ANSWERS_MAX_BYTES = 64 * 1024 * 1024  # of one generation
Answers = dict[tuple[str, tuple[str, ...]], bytes]


@dataclass(frozen=True, slots=True)
class Served:
    """One generation with the overlay that was there with it."""

    manifest: Manifest
    parts: dict[str, bytes]
    overlay: bytes = b""
    _answers: Answers = field(default_factory=dict)

    @property
    def generation(self) -> Generation:
        """Of the table."""
        return self.manifest.generation

    @property
    def etag(self) -> str:
        """Quoted; changes with the table and with the overlay."""
        mark = f"+{checksum(self.overlay)[:16]}" if self.overlay else ""
        return f'"{self.generation}{mark}"'

    def is_urgent_after(self, before: "Served") -> bool:
        """Whether what comes after ``before`` contains a forced move, a command or another overlay."""
        if before.overlay != self.overlay:
            return True
        if self.generation.epoch == before.generation.epoch:
            return self.manifest.urgent_seq > before.generation.seq
        return self.manifest.urgent_seq > 0

    def routes(self, workload: str, origins: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the routes asked for; without origins all of the workload's. Raises KeyError with the
        first that there is not."""
        if not origins:
            found = tuple(sorted(name for name in self.manifest.slices if name.split("/")[0] == workload))
            if not found:
                raise KeyError(f"{workload}/*")
            return found
        names = tuple(f"{workload}/{origin}" for origin in sorted(set(origins)))
        for name in names:
            if name not in self.manifest.slices:
                raise KeyError(name)
        return names

    def bundle(self, names: tuple[str, ...]) -> bytes:
        """For Tieline's own client: the bytes whose checksums the manifest holds."""
        return self._kept("bundle", names)

    def json(self, names: tuple[str, ...]) -> bytes:
        """For everybody else."""
        return self._kept("json", names)

    def _kept(self, kind: str, names: tuple[str, ...]) -> bytes:
        answer = self._answers.get((kind, names))
        if answer is None:
            answer = self._bundle(names) if kind == "bundle" else self._plain(names).encoded()
            if len(answer) + sum(map(len, self._answers.values())) <= KEPT_ANSWERS_MAX_BYTES:
                self._answers[kind, names] = answer
        return answer

    def _bundle(self, names: tuple[str, ...]) -> bytes:
        sums = {name: self.manifest.slices[name] for name in names}
        few = encode_manifest(
            Manifest(self.generation, self.manifest.made_ms, sums, self.manifest.urgent_seq)
        )
        return encode_bundle(Bundle(few, {name: self.parts[name] for name in names}, self.overlay))

    def _plain(self, names: tuple[str, ...]) -> PlainTable:
        slices = [decode_slice(self.parts[name], self.manifest.slices[name]) for name in names]
        return plain_table(self.manifest, slices, self.overlay)


def served(fields: dict[str, bytes], overlay: bytes, before: Served | None) -> Served | None:
    """PURE. What was read, checked: something new to serve, or None when what is served is the newest.

    Within one lineage the table never goes back. Another lineage lies in Redis only once it was adopted
    there; clients decide for themselves. Raises ``TableError``: then what is served stays.
    """
    data = fields.get(MANIFEST_FIELD)
    if data is None:
        raise TableError("no route table has been published yet")
    manifest = decode_manifest(data)
    now, held = manifest.generation, before.generation if before is not None else None
    if before is not None and held is not None and now.lineage == held.lineage and not now.newer_than(held):
        return None if overlay == before.overlay else Served(before.manifest, before.parts, overlay)
    parts = {}
    for name, expected in manifest.slices.items():
        part = fields.get(slice_field(name))
        if part is None or checksum(part) != expected:
            raise TableError(f"the slice {name} is missing or damaged")
        parts[name] = part
    return Served(manifest, parts, overlay)


class Board:
    """Holds what is served; ``next_change`` waits for the next."""

    def __init__(self) -> None:
        self.served: Served | None = None
        self._changed = asyncio.Event()
        self.heard_ms: int | None = None  # when Redis was last read, monotonic
        self.error = "Redis has not been read yet"

    def show(self, new: Served) -> None:
        """From now on this is served."""
        self.served = new
        self._changed.set()
        self._changed = asyncio.Event()

    async def next_change(self) -> None:
        """Returns when something else is served than now."""
        await self._changed.wait()
