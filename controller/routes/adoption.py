"""That one lineage follows another: an operator says so, for a history of Kafka that was lost."""

import msgspec
from msgspec import Struct

from tieline.errors import UNDECODABLE


class Adoption(Struct, frozen=True):
    """``lineage`` follows all ``parents``: tables of theirs may be replaced by its own."""

    lineage: str
    parents: tuple[str, ...]
    at_ms: int
    actor: str
    reason: str


_decoder = msgspec.json.Decoder(Adoption)


def encode_adoption(adoption: Adoption) -> bytes:
    """As it lies in Redis."""
    return msgspec.json.encode(adoption)


def adopted_from(data: bytes | None, lineage: str, stored: str) -> Adoption | None:
    """The adoption in these bytes, if by it ``lineage`` may replace the lineage that is ``stored``."""
    if not data:
        return None
    try:
        adoption = _decoder.decode(data)
    except UNDECODABLE:
        return None
    return adoption if adoption.lineage == lineage and stored in adoption.parents else None
