"""The projection of the routes into Redis, which clients read: one stored script for each publication.

Kafka is the truth. Redis may be away, empty or behind, so the newest committed publication is kept here and
projected as soon as Redis takes it. Publishing never waits for that.
"""

import asyncio
import dataclasses
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import structlog
from msgspec.structs import replace
from redis.exceptions import RedisError

from controller.process.clock import monotonic_ms, now_ms
from controller.process.seal import NO_SEAL, Seal
from controller.routes.adoption import adopted_from
from controller.routes.own_connection import OwnConnection
from tieline.keys import HEARTBEAT_FIELD, MANIFEST_FIELD, PLACE_FIELDS, SIGNATURE_FIELD, Keys, slice_field
from tieline.table import Generation, Manifest, Route, RouteTable, checksum, slices
from tieline.table_hints import encode_hint

CHECK_EVERY_S = 1.0
REDIS_WITHIN_S = 2.0
HISTORY_FIELD = "history"
LEADER_LOG_FIELD = "leader_log"
LostLog: TypeAlias = Literal["", "routes", "leader"]
_encoder = msgspec.msgpack.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Projection:
    """A publication as it lies in Redis: the bytes of each route's slice, and their checksums."""

    table: RouteTable
    parts: dict[str, bytes]
    sums: dict[str, str]
    urgent_seq: int
    parents: tuple[str, ...] = ()

    @property
    def generation(self) -> Generation:
        """The table's generation."""
        return self.table.generation

    @property
    def is_urgent(self) -> bool:
        """Whether clients are to use this table at once."""
        return self.urgent_seq == self.table.generation.seq

    def changes_from(self, base: "Projection | None") -> dict[str, bytes]:
        """The fields that differ from ``base``, the manifest among them; all without one."""
        manifest = Manifest(
            self.generation,
            self.table.made_ms,
            self.sums,
            urgent_seq=self.urgent_seq,
            parents=self.parents,
        )
        before = base.parts if base is not None else {}
        changed = {slice_field(name): part for name, part in self.parts.items() if before.get(name) != part}
        return {MANIFEST_FIELD: _encoder.encode(manifest), **changed}


class PackedCall(NamedTuple):
    """The bytes that project ``wanted`` on ``base``."""

    wanted: Projection
    base: Projection
    command: list[bytes]


class Projector:
    """Keeps ``Keys.routes`` at the newest committed publication. ``redis`` must not decode responses."""

    def __init__(self, redis: Any, keys: Keys, seal: Seal = NO_SEAL) -> None:
        self._seal = seal
        self._redis = redis
        self._keys = keys
        self._script = redis.register_script((files("controller.routes") / "project.lua").read_text())
        self._beat_script = redis.register_script((files("controller.routes") / "beat.lua").read_text())
        self.parents: tuple[str, ...] = ()  # lineages that an operator has said this one follows
        self.history = ""  # the id of the topic that publications are on; a lost Kafka has another
        self.leader_log = ""  # the id of the topic whose offsets are the epochs; the same
        self.on_projected: Callable[[Generation], None] = lambda _generation: None
        self.confirmed_ms: int | None = None  # when Redis last took or confirmed the table; steady clock
        self.foreign = ""  # the lineage that Redis holds, if it is another and was not adopted
        self._wanted: Projection | None = None
        self._prepared: Projection | None = None  # not known to be committed
        self._stored: Projection | None = None
        self._packed: PackedCall | None = None
        self._own = OwnConnection(redis)
        self._due = asyncio.Event()
        self._idle = asyncio.Event()
        self._failing = False
        self._log = structlog.get_logger("projection")

    @property
    def failing(self) -> bool:
        """Whether the last attempt to reach Redis failed."""
        return self._failing

    @property
    def table(self) -> RouteTable | None:
        """The newest publication handed over; None while another controller leads."""
        return self._wanted.table if self._wanted is not None else None

    def prepare(self, table: RouteTable, urgent_seq: int, parents: tuple[str, ...] = ()) -> None:
        """Encodes a publication for ``project`` while Kafka takes it. Nobody is shown anything yet."""
        before = self._wanted
        parts = cut(table, before)
        lineages = (*self.parents, *(name for name in parents if name not in self.parents))
        self._prepared = Projection(
            table, parts, sums_of(parts, before), urgent_seq=urgent_seq, parents=lineages
        )
        if (base := self._stored) is not None:
            arguments = self._arguments(self._prepared, base)
            command = self._own.packed(self._script, [self._keys.routes], arguments)
            self._packed = PackedCall(self._prepared, base, command) if command else None

    def project(self, table: RouteTable, urgent_seq: int, parents: tuple[str, ...] = ()) -> None:
        """Takes over a committed publication, which ``run`` then projects. Only the newest matters."""
        if self._prepared is None or self._prepared.table is not table:
            self.prepare(table, urgent_seq, parents)
        self._wanted, self._prepared = self._prepared, None
        assert self._wanted is not None
        self.parents = self._wanted.parents
        self._idle.clear()
        self._due.set()

    async def head_start(self, within_s: float) -> None:
        """Returns when nothing is left to project, or after ``within_s``: clients are served first."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            pass

    def withdraw(self) -> None:
        """Projects nothing more, because another controller leads now."""
        self._wanted = self._prepared = self._stored = self._packed = self.confirmed_ms = None

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
                    else:
                        await self._beat()
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

    async def lost_log(self, lineage: str) -> LostLog:
        """Which log has begun anew since Redis got its table of this lineage: that of the routes, or that of
        leadership, whose offsets are the epochs. Then generations begin again. Raises RedisError."""
        stored, history, leader_log = await self._redis.hmget(
            self._keys.routes, PLACE_FIELDS[0], HISTORY_FIELD, LEADER_LOG_FIELD
        )
        if stored != lineage.encode():
            return ""
        if history not in (None, b"", self.history.encode()):
            return "routes"
        return "leader" if leader_log not in (None, b"", self.leader_log.encode()) else ""

    async def _is_behind(self) -> bool:
        """Whether Redis lacks the newest publication: emptied, restored from a backup, or not reached."""
        if (wanted := self._wanted) is None:
            return False
        lineage, epoch, seq, manifest_bytes = await self._redis.hmget(
            self._keys.routes, *PLACE_FIELDS, MANIFEST_FIELD
        )
        if lineage is None or manifest_bytes is None:
            self._stored = None
            return True
        stored = Generation(lineage.decode(), int(epoch), int(seq))
        if wanted.generation.newer_than(stored):
            self._stored = None
            return True
        self.foreign = stored.lineage if stored.lineage != wanted.generation.lineage else ""
        return bool(self.foreign) and await self._adopts(wanted, stored)

    async def _adopts(self, wanted: Projection, stored: Generation) -> bool:
        """Whether an operator has said that our lineage follows the one that Redis holds."""
        data = await self._redis.get(self._keys.adoption)
        adoption = adopted_from(data, wanted.generation.lineage, stored.lineage)
        if adoption is None:
            self._log.error("LINEAGE: Redis holds another lineage", stored=str(stored))
            return False
        self._log.warning(
            "the lineage in Redis is replaced by ours, which follows it",
            stored=str(stored),
            actor=adoption.actor,
            reason=adoption.reason,
        )
        self.parents = adoption.parents
        if self._wanted is None:  # withdrawn while Redis was asked
            return False
        self._wanted = replace_parents(self._wanted, adoption.parents)  # it may be a newer one by now
        self._prepared = None  # it does not name these parents, and would be projected as it is
        self._stored = None
        return True

    async def _beat(self) -> None:
        """Confirms the publication in Redis, so that clients see that somebody can still write there."""
        if (wanted := self._wanted) is not None:
            new = wanted.generation
            place = (new.lineage, new.epoch, new.seq, HEARTBEAT_FIELD, now_ms())
            await self._beat_script(keys=[self._keys.routes], args=place)
            self.confirmed_ms = monotonic_ms()

    async def _bring_up(self) -> None:
        if (wanted := self._wanted) is None:
            return
        base = self._stored
        answer = await self._call(wanted, base)
        if answer[0] == 0 and base is not None:  # Redis was emptied or changed since: replace everything
            answer = await self._call(wanted, None)
        if answer[0] == 0:
            self._stored = None
            self._report_refusal(wanted, answer)
        else:
            self._stored = wanted
            self.confirmed_ms = monotonic_ms()
            self.on_projected(wanted.generation)

    def _report_refusal(self, wanted: Projection, answer: list[Any]) -> None:
        lineage, epoch, seq = (part.decode() for part in answer[1:4])
        new = wanted.generation
        if (lineage, int(epoch), int(seq)) != (new.lineage, new.epoch, new.seq):
            stored = f"{lineage}:{epoch}:{seq}"
            self._log.warning("Redis refused a publication", generation=str(new), stored=stored)

    async def _call(self, wanted: Projection, base: Projection | None) -> list[Any]:
        """Runs the script: a partial projection on ``base``, or without one a whole projection."""
        packed, self._packed = self._packed, None
        if packed is not None and packed.wanted is wanted and packed.base is base:
            with suppress(RedisError, OSError):  # whatever is wrong, the usual way says so or mends it
                answer: list[Any] = await self._own.call(packed.command)
                return answer
        answer = await self._script(keys=[self._keys.routes], args=self._arguments(wanted, base))
        with suppress(RedisError, OSError):
            await self._own.open()
        return answer

    def _arguments(self, wanted: Projection, base: Projection | None) -> list[str | bytes | int]:
        """What the script is called with."""
        new = wanted.generation
        base_text, gone = "", []
        if base is not None:
            place = (base.generation.lineage, base.generation.epoch, base.generation.seq)
            base_text = " ".join(map(str, place))
            gone = [slice_field(name) for name in base.parts if name not in wanted.parts]
        changed = wanted.changes_from(base)
        if signature := self._seal.manifest_signature(self._keys.namespace, changed[MANIFEST_FIELD]):
            changed[SIGNATURE_FIELD] = signature.encode()
        hint = encode_hint(str(new), urgent=wanted.is_urgent, fields=changed)
        arguments: list[str | bytes | int] = [new.lineage, new.epoch, new.seq, base_text]
        arguments += [self._keys.routes_hint, hint, " ".join(wanted.parents), len(gone), *gone]
        arguments += [HEARTBEAT_FIELD, now_ms(), HISTORY_FIELD, self.history]
        arguments += [LEADER_LOG_FIELD, self.leader_log]
        for name, value in changed.items():
            arguments += [name, value]
        return arguments


def replace_parents(projection: Projection, parents: tuple[str, ...]) -> Projection:
    """The same projection of a lineage that follows these."""
    return dataclasses.replace(projection, parents=parents)


def cut(table: RouteTable, before: Projection | None) -> dict[str, bytes]:
    """Route name -> its slice. A route that is equal in ``before`` keeps that slice's bytes."""
    if before is None or before.table.pools != table.pools or before.table.settings != table.settings:
        return slices(table)
    routes: dict[str, Route] = {route.name: route for route in before.table.routes}
    new = tuple(route for route in table.routes if routes.get(route.name) != route)
    encoded = slices(replace(table, routes=new))
    return {route.name: encoded.get(route.name) or before.parts[route.name] for route in table.routes}


def sums_of(parts: dict[str, bytes], before: Projection | None) -> dict[str, str]:
    """Route name -> its slice's checksum. A slice with the same bytes as in ``before`` keeps its checksum."""
    if before is None:
        return {name: checksum(part) for name, part in parts.items()}
    return {
        name: before.sums[name] if before.parts.get(name) is part else checksum(part)
        for name, part in parts.items()
    }
