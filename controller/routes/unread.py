"""PURE: what this version does not know of a publication that another version of Tieline wrote.

While controllers are upgraded one after the other, older ones stand by behind a newer leader. Whoever takes
over writes the newest publication again, and a field that it does not know would be gone. So what a
controller does depends on what is unknown to it:

- Nothing: it may lead.
- Fields of the memory or of orders: it would lose them, so it leads only where no other controller can.
  Within one schema of the record a lost field means what it meant before the field existed, so the way back
  to an older version stays open.
- Anything else: a field of the policy, which may be a contract; a word in the place of those it knows;
  another schema. It never leads, because what it decided could be unlawful, or rest on half a record.

The table is not looked at beyond its check: each leader makes it anew from policy and memory. Tests:
tests/unit/controller/routes/test_unread.py.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from controller.core.policy.policy import decode_policy
from controller.kafka.packing import unpacked
from controller.routes.counting_rule import Publication
from controller.routes.record import decode_record
from tieline.errors import UNDECODABLE
from tieline.table import TableError

FIELDS_NAMED_MAX = 5
LOOK_EVERY_MS = 5_000


class Unread(NamedTuple):
    """``refused``: why this version can't continue the publication at all, empty if it can. ``lost``: the
    dotted names of the fields that it would lose."""

    refused: str = ""
    lost: tuple[str, ...] = ()

    @property
    def lost_words(self) -> str:
        """The lost fields as a list for people, the first ``FIELDS_NAMED_MAX`` of them."""
        more = len(self.lost) - FIELDS_NAMED_MAX
        named = ", ".join(self.lost[:FIELDS_NAMED_MAX])
        return f"{named} and {more} more" if more > 0 else named


EVERYTHING_READ = Unread()


def unread_of(body: bytes) -> Unread:
    """What this version does not know of the publication in these bytes."""
    try:
        record = decode_record(body)
        raw = msgspec.msgpack.decode(unpacked(body))
        policy = decode_policy(record.policy) if record.policy else None
        raw_policy = msgspec.msgpack.decode(record.policy) if record.policy else None
    except (*UNDECODABLE, TableError) as error:
        return Unread(str(error))
    if unknown := _names(unknown_fields(raw_policy, policy)):
        return Unread(f"the policy in force has fields that this version does not know: {', '.join(unknown)}")
    raw.pop("table", None)
    return Unread(lost=_names(unknown_fields(raw, record)))


def unknown_fields(raw: Any, value: Any, place: str = "") -> Iterator[str]:
    """The dotted names of fields in ``raw`` that ``value`` does not have; ``*`` stands for any key of a map.

    Both were decoded from the same bytes, ``raw`` to maps, lists and scalars."""
    if isinstance(value, Struct):
        yield from _unknown_in_struct(raw, value, place)
    elif isinstance(value, dict) and isinstance(raw, dict):
        for key, item in value.items():
            yield from unknown_fields(raw.get(key), item, f"{place}*.")
    elif isinstance(value, tuple | list) and isinstance(raw, list):
        for raw_item, item in zip(raw, value, strict=False):
            yield from unknown_fields(raw_item, item, place)


def _unknown_in_struct(raw: Any, value: Struct, place: str) -> Iterator[str]:
    names, fields = value.__struct_encode_fields__, value.__struct_fields__
    tag = value.__struct_config__.tag_field
    if isinstance(raw, list):
        start = 0 if tag is None else 1
        if len(raw) - start > len(names):
            yield f"{place}{len(names)}"
        raw = dict(zip(names, raw[start:], strict=False))
    if not isinstance(raw, dict):
        return
    yield from (f"{place}{name}" for name in raw if name not in names and name != tag)
    for name, field in zip(names, fields, strict=True):
        if name in raw:
            yield from unknown_fields(raw[name], getattr(value, field), f"{place}{name}.")


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


class UnreadWatch:
    """Looks at the newest publication now and then: a new epoch's at once, others of it every
    ``LOOK_EVERY_MS``, because a whole record may have 8 MiB."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._offset = -1
        self._look_by_ms = 0
        self._unread = EVERYTHING_READ

    def look(self, publication: Publication | None, steady_ms: int) -> Unread:
        """What is unread of this publication, as far as it was looked at; ``publication`` None: nothing."""
        if publication is None:
            return EVERYTHING_READ
        is_new = publication.epoch != self._epoch
        if is_new or (publication.offset != self._offset and steady_ms >= self._look_by_ms):
            self._epoch, self._offset = publication.epoch, publication.offset
            self._look_by_ms = steady_ms + LOOK_EVERY_MS
            self._unread = unread_of(publication.body)
        return self._unread
