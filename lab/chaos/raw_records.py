"""Records that aiokafka's producer can't write: any bytes as names of headers, and any batch as it is."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c, encode_varint
from aiokafka.structs import TopicPartition

GZIP = 1
NOT_LEADER = 6
TRIES_MAX = 500
TRY_EVERY_S = 0.02


class RawName(str):
    """A header's name whose bytes on the wire are those it was made from."""

    def __new__(cls, raw: bytes) -> RawName:
        name = super().__new__(cls, raw.decode("latin-1"))
        name.raw = raw
        return name

    raw: bytes

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The raw bytes, whatever the encoding."""
        del encoding, errors
        return self.raw


Headers = Sequence[tuple[str, bytes | None]]


def batch(*records: tuple[bytes | None, bytes | None, Headers], codec: int = 0) -> bytes:
    """One record batch of these (key, value, headers)."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**30,
    )
    for number, (key, value, headers) in enumerate(records):
        builder.append(number, 1, key, value, list(headers))
    return bytes(builder.build())


async def produce(bootstrap: str, topic: str, data: bytes, partition: int = 0) -> int:
    """Appends a batch as it is. Returns the error code of the broker; 0 is none."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.add_topic(topic)

        error_code = NOT_LEADER  # as long as the topic is so new that its leader does not know it yet
        for _ in range(TRIES_MAX):
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            request = ProduceRequest(
                None, required_acks=-1, timeout=10_000, topics=[(topic, [(partition, data)])]
            )
            response = await client.send(leader, request)
            [(_, [(_, error_code, *_)])] = response.topics
            if error_code != NOT_LEADER:
                break
            await asyncio.sleep(TRY_EVERY_S)
        return error_code
    finally:
        await client.close()


def bomb(size_bytes: int) -> bytes:
    """A batch of one record whose body is that many blanks, compressed without ever being held whole."""
    start = b"\0\0\0" + varint(1) + b"k" + varint(size_bytes)
    length = varint(len(start) + size_bytes + 1)
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [stream.compress(length + start)]
    block = b" " * 1_000_000
    parts += [stream.compress(block) for _ in range(size_bytes // len(block))]
    parts += [stream.compress(b"\0"), stream.flush()]  # no headers
    return _with_records(batch((b"k", b"v", [])), b"".join(parts))


def varint(value: int) -> bytes:
    """As Kafka writes a length."""
    written = bytearray()
    encode_varint(value, written.append)
    return bytes(written)


def _with_records(plain: bytes, records: bytes) -> bytes:
    """The batch with these bytes in the place of its records, said to be compressed by gzip."""
    head = bytearray(plain[:61])
    head[8:12] = (61 - 12 + len(records)).to_bytes(4, "big")
    head[21:23] = GZIP.to_bytes(2, "big")
    data = bytes(head) + records
    crc: int = calc_crc32c(data[21:])
    return data[:17] + crc.to_bytes(4, "big") + data[21:]
