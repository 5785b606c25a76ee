"""From alerts to statements. Pure.

A sender pushes single alerts; a statement is all that a source claims of one region. So the book holds what
is claimed, by region and alert, and gives the whole statement of every region that a change touches.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from tieline.events import CLAIMS_PER_EVENT_MAX, Claim, Statement

AlertState: TypeAlias = Literal["degraded", "down", "maintenance"]
TEXT_MAX = 300
_ID = re.compile(r" \[([^\[\]]{1,200})\]\Z")
_UNFIT_FOR_ID = re.compile(r"[\s\[\]\x00-\x1f\x7f]+")

Region: TypeAlias = tuple[str, str]  # provider and region; "*" stands for all regions
StatedKind: TypeAlias = Literal["status", "maintenance"]
Stated: TypeAlias = tuple[Region, StatedKind]


class Alert(NamedTuple):
    """One thing that is wrong, or no longer.

    ``places``: what it is about, as provider, provider/region or whole pool ids. ``state`` None: it has
    ended; its places then don't matter.
    """

    id: str
    places: tuple[str, ...]
    state: AlertState | None
    text: str = ""
    starts_ms: int | None = None
    ends_ms: int | None = None


class AlertBook:
    """What one source claims now. ``expires_after_ms``: how long a claim counts after its last push."""

    def __init__(self, source: str, incarnation: str, expires_after_ms: int) -> None:
        self._source = source
        self._incarnation = incarnation
        self._expires_after_ms = expires_after_ms
        self._sequence = 0
        self._claims: dict[Stated, dict[str, Claim]] = {}
        self._due: dict[Stated, None] = {}

    def restore(self, statement: Statement) -> None:
        """Take over what this source claimed in an earlier process."""
        if statement.kind not in ("status", "maintenance"):
            return
        self._claims[_place_of(statement)] = {
            _id_in(claim.text) or f"restored {number}": claim for number, claim in enumerate(statement.claims)
        }

    def take(self, alerts: Iterable[Alert], now_ms: int) -> None:
        """Note what these alerts claim, or no longer claim."""
        for alert in alerts:
            alert_id = fit_id(alert.id)
            for place, claims in self._claims.items():
                if claims.pop(alert_id, None) is not None:
                    self._due[place] = None
            for place, claim in self._claims_of(alert, alert_id, now_ms):
                self._claims.setdefault(place, {})[alert_id] = claim
                self._due[place] = None

    def due(self, now_ms: int) -> tuple[Statement, ...]:
        """The statements of every region about which something has changed since ``delivered``."""
        return tuple(self._statement(place, now_ms) for place in self._due)

    def delivered(self, statement: Statement) -> None:
        """Kafka has this statement. A region of which nothing is claimed any more is forgotten."""
        if statement.kind in ("status", "maintenance"):
            self._due.pop(_place_of(statement), None)
            self._forget_empty(_place_of(statement))

    def give_up(self, statement: Statement, alerts: Iterable[Alert] | None) -> None:
        """The controllers do not take this statement: what ``alerts`` claim of its region leaves it, so that
        the rest can be due again; None: all of it."""
        place = _place_of(statement)
        claims = self._claims.get(place, {})
        leaving = set(claims) if alerts is None else {fit_id(alert.id) for alert in alerts}
        self._claims[place] = {name: claim for name, claim in claims.items() if name not in leaving}
        if not self._claims[place]:
            self._due.pop(place, None)
        self._forget_empty(place)

    def _forget_empty(self, place: Stated) -> None:
        """A sender that makes up regions must not fill the memory."""
        if place not in self._due and not self._claims.get(place, True):
            del self._claims[place]

    def _claims_of(self, alert: Alert, alert_id: str, now_ms: int) -> Iterator[tuple[Stated, Claim]]:
        if alert.state is None:
            return
        kind: StatedKind = "maintenance" if alert.state == "maintenance" else "status"
        pools: dict[Region, tuple[str, ...]] = {}
        for place in dict.fromkeys(alert.places):
            provider, _, rest = place.partition("/")
            region, _, deployment = rest.partition("/")
            named = pools.setdefault((provider, region or "*"), ())
            if deployment:
                pools[provider, region] = (*named, place)
        whole = {tuple(place.split("/")) for place in alert.places if place.count("/") == 1}
        for home, names in pools.items():
            claim = Claim(
                state=alert.state,
                expires_ms=alert.ends_ms or now_ms + self._expires_after_ms,
                starts_ms=alert.starts_ms if (alert.starts_ms or 0) > now_ms else None,
                pools=() if home in whole else names,
                text=f"{alert.text[:TEXT_MAX]} [{alert_id}]",
            )
            yield (home, kind), claim

    def _statement(self, place: Stated, now_ms: int) -> Statement:
        (provider, region), kind = place
        self._sequence += 1
        claims = {name: claim for name, claim in self._claims[place].items() if claim.expires_ms > now_ms}
        newest = list(claims.items())[-CLAIMS_PER_EVENT_MAX:]
        self._claims[place] = dict(newest)
        return Statement(
            source=self._source,
            provider=provider,
            region=region,
            kind=kind,
            incarnation=self._incarnation,
            sequence=self._sequence,
            issued_ms=now_ms,
            claims=tuple(claim for _, claim in newest),
        )


def fit_id(text: str) -> str:
    """An id as it can stand in a claim's text: without spaces and brackets, at most 200 characters."""
    return _UNFIT_FOR_ID.sub("-", text)[:200] or "-"


def _place_of(statement: Statement) -> Stated:
    return (statement.provider, statement.region), "status" if statement.kind == "status" else "maintenance"


def _id_in(text: str) -> str:
    match = _ID.search(text)
    return match.group(1) if match else ""
