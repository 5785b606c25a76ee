"""One record of the routes log, a whole publication or a fence: its fields, its bytes, its headers."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiokafka.structs import ConsumerRecord
from msgspec import Struct

from controller.core.model.memory import Memory
from controller.kafka.packing import PackingError, packed, unpacked
from controller.routes.counting_rule import KeyedRecord, fence_key, table_key
from tieline.cloudevents import MSGPACK
from tieline.errors import UNDECODABLE
from tieline.events import Command, PolicyChange
from tieline.table import Generation, PoolInfo, Route, RouteTable, TableError, check

ROUTES_TYPE = "tieline.routes.v1"
DECISION_TYPE = "tieline.decision.v1"
RECORD_SCHEMA = 1
SOURCE_PREFIX = "/tieline/"

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_T = TypeVar("_T")


class OrderAnswer(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the leader says to one order: ``refused`` says why it changes nothing, empty if it was accepted.

    ``append_ms`` is when the order was appended, by the broker's clock; its time runs from there, or from
    when the last person signed it. ``actor``: who gave it, or claimed to.
    """

    id: str
    append_ms: int
    refused: str = ""
    actor: str = ""


class PendingOrder(Struct, frozen=True, omit_defaults=True, gc=False):
    """An order that waits until ``approvals`` operators have signed it. ``signers`` have; the first gave it.

    ``since_ms``: when it was appended. It lapses at ``until_ms``.
    """

    order: Command | PolicyChange
    since_ms: int
    until_ms: int
    signers: tuple[str, ...]
    approvals: int

    @property
    def brief(self) -> "PendingOrder":
        """The same to be shown: of a policy change without the policies that it brings."""
        if isinstance(self.order, Command):
            return self
        order = msgspec.structs.replace(self.order, policy=b"", parent_policy=b"")
        return msgspec.structs.replace(self, order=order)


class LoggedChange(NamedTuple):
    """A policy change as it lies on the command log; ``append_ms`` by the broker's clock."""

    offset: int
    append_ms: int
    change: PolicyChange


class OrdersTaken(NamedTuple):
    """What a decision knows of the command log, the topic ``topic_id``: everything before ``next_offset``.

    ``answered_offset``: one above the last record that is an order by somebody who may give it.
    ``rejected_offset``: one above the last other order. ``orders`` are those in force. ``changes``: the
    policy changes that are not known to be taken into account yet. The other fields are as in
    ``RoutesRecord``.
    """

    next_offset: int = 0
    answered_offset: int = 0
    topic_id: str = ""
    answers: tuple[OrderAnswer, ...] = ()
    orders: tuple[Command, ...] = ()
    changes: tuple[LoggedChange, ...] = ()
    pending: tuple[PendingOrder, ...] = ()
    rejections: tuple[OrderAnswer, ...] = ()
    rejected_offset: int = 0


class RoutesRecord(Struct, frozen=True, omit_defaults=True):
    """``table`` is None in a fence (seq 0), which only ends the epochs before it.

    ``policy`` is the policy in force as msgpack, ``policy_version`` its checksum. ``urgent_seq``: the seq of
    this epoch's last publication that contained a forced move or an order. Every order before
    ``commands_next_offset`` of the command log, which is the topic ``commands_topic_id``, is taken into
    account. ``answers`` says to the newest of them, the last one last, what became of each; ``rejections``
    says it to those whose sender was not entitled to give them. ``orders`` are those that they leave in
    force, and ``pending`` those that wait for another person: nobody has to read the log from its beginning,
    and none is forgotten when the log is cut. ``policy_number``: how many policy changes led to the policy in
    force; ``policy_answers`` are those to the newest of them. ``unsigned_commands``: orders need no
    signature. ``parents``: lineages that this one follows (``adoption``).
    """

    generation: Generation
    published_ms: int
    table: RouteTable | None = None
    memory: Memory | None = None
    policy: bytes = b""
    policy_version: str = ""
    urgent_seq: int = 0
    commands_next_offset: int = 0
    unsigned_commands: bool = False
    schema: int = RECORD_SCHEMA
    answers: tuple[OrderAnswer, ...] = ()
    orders: tuple[Command, ...] = ()
    commands_topic_id: str = ""
    parents: tuple[str, ...] = ()
    policy_number: int = 0
    policy_answers: tuple[OrderAnswer, ...] = ()
    pending: tuple[PendingOrder, ...] = ()
    rejections: tuple[OrderAnswer, ...] = ()

    def key(self) -> bytes:
        """The Kafka key of the record."""
        epoch = self.generation.epoch
        return fence_key(epoch) if self.table is None else table_key(epoch)

    def pending_order(self, order_id: str) -> PendingOrder | None:
        """The order with this id, if it waits for the signatures of more people."""
        return next((item for item in self.pending if item.order.id == order_id), None)

    def answer_to(self, order_id: str) -> OrderAnswer | None:
        """What became of the order with this id; None if it was not answered yet, or long ago."""
        answers = (*self.policy_answers, *self.answers, *self.rejections)
        return next((answer for answer in answers if answer.id == order_id), None)


class RecordHead(Struct, frozen=True):
    """What a standby needs of a publication: the fields of ``RoutesRecord`` without the table and memory."""

    generation: Generation
    policy: bytes = b""
    policy_version: str = ""
    policy_number: int = 0
    commands_next_offset: int = 0
    commands_topic_id: str = ""


_decoder = msgspec.msgpack.Decoder(RoutesRecord)
_head_decoder = msgspec.msgpack.Decoder(RecordHead)


def fence(lineage: str, epoch: int, now_ms: int) -> RoutesRecord:
    """The record with which an epoch begins."""
    return RoutesRecord(Generation(lineage, epoch, 0), now_ms)


def renumbered(record: RoutesRecord, generation: Generation, now_ms: int) -> RoutesRecord:
    """The same weights and memory as a new publication; ``urgent_seq`` starts anew with each epoch."""
    assert record.table is not None
    same_epoch = record.generation.epoch == generation.epoch
    return msgspec.structs.replace(
        record,
        generation=generation,
        published_ms=now_ms,
        table=msgspec.structs.replace(record.table, generation=generation, made_ms=now_ms),
        urgent_seq=record.urgent_seq if same_epoch else 0,
    )


def encode_record(record: RoutesRecord) -> bytes:
    """The record as bytes. Raises TableError for a table that fails its check, and for a record that does not
    fit into 8 MiB even when it is compressed."""
    return RecordEncoder().encode(record)


class _PackedRoute(NamedTuple):
    """A route that has passed its check, and its bytes."""

    route: Route
    packed: msgspec.Raw


class RecordEncoder:
    """Encodes one record after another, to the same bytes as ``encode_record``.

    From record to record most of a table stays as it is: what is equal in the last one is neither checked nor
    encoded again.
    """

    def __init__(self) -> None:
        self._pools: tuple[PoolInfo, ...] = ()
        self._packed_pools = msgspec.Raw()
        self._routes: dict[str, _PackedRoute] = {}

    def encode(self, record: RoutesRecord) -> bytes:
        """The record as bytes. Raises TableError as ``encode_record`` does."""
        data = _encoder.encode(record if record.table is None else self._with_packed(record, record.table))
        try:
            return packed(data)
        except PackingError as error:
            raise TableError(f"the routes record has {error}") from None

    def _with_packed(self, record: RoutesRecord, table: RouteTable) -> RoutesRecord:
        """The record with the bytes of pools and routes in their places, to be encoded and nothing else."""
        routes = tuple(packed.packed for packed in self._packed_routes(table))
        contents: dict[str, Any] = {"pools": self._packed_pools, "routes": routes}
        packed_table: Any = msgspec.structs.replace(table, **contents)
        return msgspec.structs.replace(record, table=packed_table)

    def _packed_routes(self, table: RouteTable) -> Iterable[_PackedRoute]:
        names = [route.name for route in table.routes]
        if table.pools != self._pools or len(set(names)) != len(names):
            self._routes = {}
        new = {
            name: route
            for name, route in zip(names, table.routes, strict=True)
            if name not in self._routes or self._routes[name].route != route
        }
        if not self._routes:
            check(table)
            self._pools, self._packed_pools = table.pools, msgspec.Raw(_encoder.encode(table.pools))
        elif new or not names:
            check(msgspec.structs.replace(table, routes=tuple(new.values())))
        packed = {
            name: _PackedRoute(route, msgspec.Raw(_encoder.encode(route))) for name, route in new.items()
        }
        self._routes = {name: packed.get(name) or self._routes[name] for name in names}
        return self._routes.values()


def decode_record(data: bytes) -> RoutesRecord:
    """The record in these bytes. Raises TableError for other bytes, another schema, or a table that fails its
    check."""
    record = _decoded(_decoder, data)
    if record.schema != RECORD_SCHEMA:
        raise TableError(f"the routes record has schema {record.schema}; this version reads {RECORD_SCHEMA}")
    if record.table is not None:
        check(record.table)
    return record


def head_of(data: bytes) -> RecordHead:
    """The head of the record in these bytes. Raises TableError for other bytes."""
    return _decoded(_head_decoder, data)


def _decoded(decoder: msgspec.msgpack.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(unpacked(data))
    except (*UNDECODABLE, PackingError) as error:
        raise TableError(f"not a routes record: {error}") from None


def headers(type_name: str, event_id: str, source: str) -> list[tuple[str, bytes]]:
    """The CloudEvents headers of a record whose type is not among the shared event types."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", type_name.encode()),
        ("ce_source", f"{SOURCE_PREFIX}{source}".encode()),
        ("ce_id", event_id.encode()),
        ("content-type", MSGPACK.encode()),
    ]


def keyed(record: ConsumerRecord[bytes | None, bytes | None], flaw: str = "") -> KeyedRecord:
    """What counts of a record as Kafka has it. Seq and writer stand in its headers ``ce_id``, which is its
    generation, and ``ce_source``, so that no reader need decode the body for them; 0 and empty without.
    ``flaw``: why it must not be believed, empty if it may be."""
    seq, writer = 0, ""
    for name, value in record.headers:
        text = (value or b"").decode("utf-8", "replace")  # Kafka allows a header without a value
        if name == "ce_id":
            digits = text.rpartition(":")[2]
            seq = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 16 else 0
        elif name == "ce_source" and text.startswith(SOURCE_PREFIX):
            writer = text.removeprefix(SOURCE_PREFIX)
    return KeyedRecord(record.key, seq, record.value, writer=writer, flaw=flaw)
