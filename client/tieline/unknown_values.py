"""PURE. Values of tomorrow: what a reader takes a value for that a newer producer of the same version wrote.

Within a version producers may use new values of some fields. A reader that does not know one takes it for the
value that is safe to assume, so that the rest of the record still counts:

- ``state`` of a claim: ``degraded``. Somebody says that something is wrong, and a status alone takes no pool
  down. On statements of another kind than ``status`` it changes nothing.
- ``state`` of a client's demand: ``live``. The client is there and its load counts; only ``off`` is a
  goodbye.
- ``ejected``: ``server_error``. The process keeps away from the pool, for whatever reason.
- ``state`` of a request for capacity: ``withdrawn``, so that nobody answers what may be over. Its ``cause``:
  ``growth``, the least urgent. A provider's ``answer`` in it: ``silent``.

Everywhere else an unknown value makes the record invalid, because a guess could do harm: the verb, state and
mode of an order, and the kind of a statement, which is part of its key. docs/contract.md has the rules for
those who add values. Tests: tests/unit/client/test_unknown_values.py.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from tieline.events import ClaimState, ClientState, Demand, Event, Report, ResultClass, Statement
from tieline.offers import AnswerKind, OfferCause, OfferRequest, OfferState


class Tolerance(NamedTuple):
    """``field`` of the event itself, or of each row of its list ``rows``, may have a value that is not among
    ``values``; it is then taken for ``taken_for``."""

    rows: str
    field: str
    values: frozenset[str]
    taken_for: str


_EJECTED = Tolerance("pools", "ejected", values=frozenset(ResultClass), taken_for=ResultClass.SERVER_ERROR)
TOLERANCES: dict[type[Event], tuple[Tolerance, ...]] = {
    Report: (_EJECTED,),
    Statement: (Tolerance("claims", "state", values=frozenset(get_args(ClaimState)), taken_for="degraded"),),
    OfferRequest: (
        Tolerance("", "state", values=frozenset(get_args(OfferState)), taken_for="withdrawn"),
        Tolerance("", "cause", values=frozenset(get_args(OfferCause)), taken_for="growth"),
        Tolerance("providers", "answer", values=frozenset(get_args(AnswerKind)), taken_for="silent"),
    ),
    Demand: (
        Tolerance("", "state", values=frozenset(get_args(ClientState)), taken_for="live"),
        _EJECTED,
    ),
}


def replace_unknown(kind: type[Event], body: Any) -> bool:
    """Puts the safe values into ``body``, a decoded map, in place. Returns whether there was any to put."""
    is_changed = False
    for tolerance in TOLERANCES.get(kind, ()):
        for row in _rows(body, tolerance.rows):
            value = row.get(tolerance.field)
            if isinstance(value, str) and value not in tolerance.values:
                row[tolerance.field] = tolerance.taken_for
                is_changed = True
    return is_changed


def _rows(body: Any, name: str) -> Iterator[dict[Any, Any]]:
    if not isinstance(body, dict):
        return
    rows = body.get(name, ()) if name else (body,)
    if isinstance(rows, list | tuple):
        yield from (row for row in rows if isinstance(row, dict))
