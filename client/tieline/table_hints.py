"""The hint that follows each new table in Redis: which table it is, and for a small urgent change all of it.

A hint is a message of the channel ``Keys.routes_hint``. Its last line is text, ``<generation> <urgent 0|1>``.
Readers that know no more than that read the table when the hint comes. The bytes before the last line, if
there are any, are a MessagePack map: the fields that this publication has changed in the hash
``Keys.routes``, with their values. A reader that finds all that it needs in them saves a round trip to Redis,
and a fleet of clients need not read Redis at the same moment to leave a pool that is lost.

Nothing depends on a hint: it may be lost, and readers poll. What a hint carries passes the same checks as
what is read from the hash. It can make no reader go back to an older table, because generations only rise.
But whoever may publish on the channel, or write the hash, can offer tables to clients: give these rights to
controllers only. Clients with the controllers' keys take no table of anybody else.
Tests: tests/unit/client/test_table_hints.py, and with real servers tests/integration/test_client_outages.py.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tieline.errors import UNDECODABLE

URGENT, NOT_URGENT = b"1", b"0"
CARRIED_BYTES_MAX = 16 * 1024  # every client gets it, whatever it needs of it

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(dict[str, bytes])


class TableHint(NamedTuple):
    """``urgent``: the table is not to wait for the next poll. ``fields``: what it changed in the hash, by
    name; empty if the hash has to be read."""

    urgent: bool
    fields: Mapping[str, bytes]


def encode_hint(generation: str, *, urgent: bool, fields: Mapping[str, bytes]) -> bytes:
    """The hint of a table. It carries ``fields`` if the table is urgent and they are not too large."""
    line = generation.encode() + b" " + (URGENT if urgent else NOT_URGENT)
    size_bytes = sum(len(name) + len(value) for name, value in fields.items())
    if not urgent or not fields or size_bytes > CARRIED_BYTES_MAX:
        return line
    return _encoder.encode(fields) + b"\n" + line


def decode_hint(data: bytes) -> TableHint:
    """What a hint says. What it carries is dropped if it is of another form: then the hash has to be read."""
    carried, _, line = data.rstrip().rpartition(b"\n")
    urgent = line.endswith(b" " + URGENT)
    if not carried:
        return TableHint(urgent, {})
    try:
        return TableHint(urgent, _decoder.decode(carried))
    except UNDECODABLE:
        return TableHint(urgent, {})
