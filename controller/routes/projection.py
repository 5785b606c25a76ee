"""The projection of routes into Redis: what clients read. One stored script a publication.

Kafka is the truth, and Redis may be away, empty or behind: the newest committed publication is kept here, and
projected as soon as Redis takes it. Publishing never waits for that.
"""

import asyncio
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace
from redis.exceptions import RedisError

from tieline.keys import MANIFEST_FIELD, Keys, slice_field
from tieline.table import Generation, Manifest, Route, RouteTable, checksum, slices

CHECK_EVERY_S = 1.0
REDIS_WITHIN_S = 2.0
PLACE_FIELDS = ("lineage", "epoch", "seq")
_encoder = msgspec.msgpack.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Projected:
    """A publication with the bytes of its slices."""

    table: RouteTable
    parts: dict[str, bytes]
    sums: dict[str, str]
    urgent_seq: int

    @property
    def generation(self) -> Generation:
        """Of the table."""
        return self.table.generation


class Projector:
    """Keeps ``Keys.routes`` at the newest committed publication. ``redis`` must not decode responses."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._script = redis.register_script((files("controller.routes") / "project.lua").read_text())
        self._wanted: Projected | None = None
        self._stored: Projected | None = None
        self._due = asyncio.Event()
        self._idle = asyncio.Event()
        self._failing = False
        self._log = structlog.get_logger("projection")

    @property
    def failing(self) -> bool:
        """Whether Redis did not take the last attempt."""
        return self._failing

    @property
    def table(self) -> RouteTable | None:
        """The newest publication handed over; None while another controller leads."""
        return self._wanted.table if self._wanted is not None else None

    def project(self, table: RouteTable, urgent_seq: int) -> None:
        """Takes over a committed publication; ``run`` projects it. Only the newest matters."""
        held = self._wanted
        parts = cut(table, held)
        self._wanted = Projected(table, parts, sums_of(parts, held), urgent_seq)
        self._idle.clear()
        self._due.set()

    async def head_start(self, within_s: float) -> None:
        """Returns when nothing is left to project, or after ``within_s``: the clients' way goes first."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            pass

    def withdraw(self) -> None:
        """Stops projecting: another controller leads now."""
        self._wanted = self._stored = None

    async def run(self) -> None:
        """Projects what is due, and once a second makes sure that it is still there. Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await self._due.wait()
            except TimeoutError:
                pass
            checking = not self._due.is_set()
            self._due.clear()
            try:
                async with asyncio.timeout(REDIS_WITHIN_S):
                    if not checking or await self._is_behind():
                        await self._bring_up()
                if not self._due.is_set():
                    self._idle.set()
            except (RedisError, OSError, TimeoutError) as error:
                self._stored = None
                if not self._failing:
                    self._log.warning("Redis is away; publications go on", error=type(error).__name__)
                self._failing = True
            else:
                if self._failing:
                    self._log.info("Redis is back")
                self._failing = False

    async def _is_behind(self) -> bool:
        """Whether Redis lacks the newest publication: emptied, restored from the past, or not reached."""
        if (wanted := self._wanted) is None:
            return False
        lineage, epoch, seq, manifest_bytes = await self._redis.hmget(
            self._keys.routes, *PLACE_FIELDS, MANIFEST_FIELD
        )
        if lineage is None or manifest_bytes is None:
            self._stored = None
            return True
        held = Generation(lineage.decode(), int(epoch), int(seq))
        if wanted.generation.newer_than(held):
            self._stored = None
            return True
        if held.lineage != wanted.generation.lineage:
            self._log.error("LINEAGE: Redis holds another lineage", held=str(held))
        return False

    async def _bring_up(self) -> None:
        if (wanted := self._wanted) is None:
            return
        held = self._stored
        answer = await self._call(wanted, held)
        if answer[0] == 0 and held is not None:  # it was emptied or changed since: replace everything
            answer = await self._call(wanted, None)
        if answer[0] == 0:
            await self._refused(wanted, answer)
        else:
            self._stored = wanted

    async def _refused(self, wanted: Projected, answer: list[Any]) -> None:
        self._stored = None
        lineage, epoch, seq = (part.decode() for part in answer[1:4])
        if (lineage, int(epoch), int(seq)) != (
            wanted.generation.lineage,
            wanted.generation.epoch,
            wanted.generation.seq,
        ):
            stored = f"{lineage}:{epoch}:{seq}"
            self._log.warning("projection refused", generation=str(wanted.generation), stored=stored)

    async def _call(self, wanted: Projected, held: Projected | None) -> list[Any]:
        new = wanted.generation
        base, gone, changed = "", [], wanted.parts
        if held is not None:
            base = " ".join(map(str, (held.generation.lineage, held.generation.epoch, held.generation.seq)))
            gone = [slice_field(name) for name in held.parts if name not in wanted.parts]
            changed = {name: part for name, part in wanted.parts.items() if held.parts.get(name) != part}
        is_urgent = wanted.urgent_seq == new.seq
        arguments: list[str | bytes | int] = [new.lineage, new.epoch, new.seq, base, self._keys.routes_hint]
        arguments += [f"{new} {int(is_urgent)}", len(gone), *gone, MANIFEST_FIELD]
        arguments.append(_encoder.encode(Manifest(new, wanted.table.made_ms, wanted.sums, wanted.urgent_seq)))
        for name, part in changed.items():
            arguments += [slice_field(name), part]
        answer: list[Any] = await self._script(keys=[self._keys.routes], args=arguments)
        return answer


def cut(table: RouteTable, held: Projected | None) -> dict[str, bytes]:
    """The table's slices; those of routes that are as in ``held`` keep their bytes and are not made again."""
    if held is None or held.table.pools != table.pools or held.table.settings != table.settings:
        return slices(table)
    before: dict[str, Route] = {route.name: route for route in held.table.routes}
    new = tuple(route for route in table.routes if before.get(route.name) != route)
    made = slices(replace(table, routes=new))
    return {route.name: made.get(route.name) or held.parts[route.name] for route in table.routes}


def sums_of(parts: dict[str, bytes], held: Projected | None) -> dict[str, str]:
    """The checksum of each slice; those of unchanged bytes are not made again."""
    if held is None:
        return {name: checksum(part) for name, part in parts.items()}
    return {
        name: held.sums[name] if held.parts.get(name) is part else checksum(part)
        for name, part in parts.items()
    }
