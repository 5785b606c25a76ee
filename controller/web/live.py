"""What the live page shows, as a value: sections by name, each of plain JSON. Pure.

The sections are made from the same ``Status`` that `tieline status` prints, and the sentences are those of
the terminal. ``pools`` and ``routes`` are maps from names to rows, so that a change can name single rows.
Every other section is sent as a whole when anything in it changes. Instants are epoch milliseconds, loads
units/s, shares fractions of one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from controller.core.evidence.reported import route_offers
from controller.core.model.reasons import State
from controller.core.offers.words import (
    CAUSES,
    STATES,
    accepted_words,
    asked_words,
    is_of_interest,
    request_words,
)
from controller.core.orders.words import described
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from controller.history.entries import ROUTINE, Entry
from controller.process.telemetry import without_controls
from controller.status.gather import Status
from controller.status.head import BAD, PLAIN, head
from controller.status.outlook import Outlook
from controller.status.overview import PoolRow, RouteRow
from controller.status.words import NAMED_MAX, taken_back_by
from streams.store import Contents

KEYED = ("pools", "routes")
TIMELINE_MAX = 60
Sections = dict[str, Any]


class View(NamedTuple):
    """Everything that one picture is made of. ``snapshot`` and ``outlook`` are None until Kafka was read."""

    status: Status
    contents: Contents
    snapshot: Snapshot | None = None
    outlook: Outlook | None = None
    timeline: tuple[Entry, ...] = ()


class Change(NamedTuple):
    """What a reader that has one picture needs for the next: whole sections, single rows, rows that went."""

    sections: Sections
    rows: dict[str, dict[str, Any]]
    gone: dict[str, list[str]]

    @property
    def is_empty(self) -> bool:
        """Whether both pictures are the same."""
        return not (self.sections or self.rows or self.gone)


def sections_of(view: View) -> Sections:
    """All sections of one picture. Texts hold no control characters, whoever wrote them."""
    status, policy = view.status, view.snapshot.policy if view.snapshot is not None else None
    geographies = {pool.id: pool.geography for pool in policy.pools} if policy is not None else {}
    offered = route_offers(view.contents.demand, status.at_ms)
    sections: Sections = {
        "head": _head(status, policy),
        "notices": _notices(status, view.outlook),
        "providers": _providers(status, policy),
        "pools": {row.pool: _pool(row, geographies.get(row.pool, "")) for row in status.overview.pools},
        "routes": {row.route: _route(row, offered.get(row.route)) for row in status.overview.routes},
        "orders": _orders(status),
        "offers": _offers(view.snapshot, status.at_ms),
        "controllers": _controllers(status),
        "clients": _clients(status),
        "timeline": _timeline(view.timeline),
        "outlook": _outlook(view.outlook),
    }
    return {name: _clean(section) for name, section in sections.items()}


def change_between(before: Sections, after: Sections) -> Change:
    """What differs between two pictures."""
    whole = {
        name: section for name, section in after.items() if name not in KEYED and before.get(name) != section
    }
    rows, gone = {}, {}
    for name in KEYED:
        old, new = before.get(name, {}), after.get(name, {})
        if changed := {key: row for key, row in new.items() if old.get(key) != row}:
            rows[name] = changed
        if absent := [key for key in old if key not in new]:
            gone[name] = absent
    return Change(whole, rows, gone)


def _head(status: Status, policy: Policy | None) -> dict[str, Any]:
    return {
        "generation": status.generation,
        "published_ms": status.published_ms,
        "policy": status.policy_version[:8],
        "unsigned": bool(status.unsigned_dev_mode),
        "unit": policy.clients.load_unit if policy is not None else "units",
        "leader": status.leader.identity[:8] if status.leader is not None else "",
        "epoch": status.leader.epoch if status.leader is not None else None,
    }


def _notices(status: Status, outlook: Outlook | None) -> list[dict[str, Any]]:
    """What a person must know, the worst first. The key of a notice stays while only its figures change."""
    lines = [(line.text, line.style in (BAD, "red")) for line in head(status) if line.style != PLAIN]
    lines += [(text, True) for text in _down(status)]
    lines += [(text, False) for text in _short(outlook)]
    return [{"key": re.sub(r"[\d.,]+", "", text), "text": text, "bad": bad} for text, bad in lines]


def _down(status: Status) -> Iterator[str]:
    """One sentence for each provider with pools that are down."""
    for provider in status.overview.providers:
        own = [row for row in status.overview.pools if row.pool.startswith(f"{provider.provider}/")]
        down = [row for row in own if row.state == State.DOWN]
        if len(down) == 1:
            yield f"DOWN: {down[0].pool}: {down[0].why}"
        elif down:
            why = "; ".join(sorted({row.why for row in down})[:NAMED_MAX])
            yield f"DOWN: {len(down)} of {len(own)} pools of {provider.provider}: {why}"


def _short(outlook: Outlook | None) -> Iterator[str]:
    """One sentence for each provider whose loss would leave critical load without a place."""
    rows = [row for row in outlook.margins if row.units_per_s < 0] if outlook is not None else []
    for lost in sorted({row.lost for row in rows}):
        places = ", ".join(row.geography for row in rows if row.lost == lost)
        yield f"N-1: without {lost}, critical load of {places} would have no place"


def _providers(status: Status, policy: Policy | None) -> list[dict[str, Any]]:
    modes: dict[str, str] = {item.id: item.mode for item in policy.providers} if policy is not None else {}
    modes.update((order.scope, order.mode) for order in status.commands if order.verb == "mode")
    return [
        {
            "id": row.provider,
            "mode": modes.get(row.provider, ""),
            "states": row.states,
            "capacity": figure(row.capacity_units_per_s),
            "load": figure(row.load_units_per_s),
            "weight": round(row.weight, 4),
        }
        for row in status.overview.providers
    ]


def _pool(row: PoolRow, geography: str) -> dict[str, Any]:
    return {
        "state": row.state,
        "why": row.why,
        "since_ms": row.since_ms,
        "geography": geography,
        "weight": round(row.weight, 4),
        "capacity": figure(row.capacity_units_per_s),
        "usable": figure(row.usable_units_per_s),
        "load": figure(row.load_units_per_s),
    }


def _route(row: RouteRow, offered: float | None) -> dict[str, Any]:
    return {
        "criticality": row.criticality,
        "offered": figure(offered),
        "shed": round(row.shed, 4),
        "why": row.why,
        "shares": {pool: round(share, 4) for pool, share in row.shares.items()},
    }


def _orders(status: Status) -> list[dict[str, Any]]:
    return [
        {
            "id": order.id,
            "text": described(order),
            "actor": order.actor,
            "reason": order.reason,
            "expires_ms": order.expires_ms,
            "command": taken_back_by(order),
        }
        for order in status.commands
    ]


def _offers(snapshot: Snapshot | None, at_ms: int) -> list[dict[str, Any]]:
    """Requests for capacity, the newest first: those that are open, or of which something counts or will."""
    if snapshot is None or snapshot.memory is None:
        return []
    unit = snapshot.policy.clients.load_unit
    return [
        {
            "id": request.id,
            "text": request_words(request, unit),
            "cause": CAUSES[request.cause],
            "open": request.is_open,
            "state": STATES[request.state],
            "answers": [asked_words(item, at_ms) for item in request.providers],
            "accepted": [accepted_words(part, at_ms, unit) for part in request.accepted],
        }
        for request in reversed(snapshot.memory.offers)
        if is_of_interest(request, at_ms)
    ]


def _controllers(status: Status) -> list[dict[str, Any]]:
    return [
        {
            "id": row.presence.identity[:8],
            "host": row.presence.host,
            "state": row.state,
            "version": row.presence.version,
            "unwell": row.is_unwell,
            "wrong": [*(fault.words for fault in row.presence.faults), *row.presence.alarms],
        }
        for row in status.controllers
    ]


def _clients(status: Status) -> dict[str, Any] | None:
    clients = status.clients
    if clients is None:
        return None
    by_size = sorted(clients.generations.items(), key=lambda item: (-item[1], item[0]))
    return {"heard": clients.heard, "silent": clients.silent, "generations": by_size}


def _timeline(entries: tuple[Entry, ...]) -> list[dict[str, Any]]:
    return [
        {
            "at_ms": entry.at_ms,
            "kind": entry.kind,
            "severity": entry.severity,
            "phase": entry.phase,
            "text": entry.text,
            "who": entry.who,
            "why": list(entry.why),
        }
        for entry in [entry for entry in entries if entry.kind not in ROUTINE][-TIMELINE_MAX:]
    ]


def _outlook(outlook: Outlook | None) -> dict[str, Any] | None:
    if outlook is None:
        return None
    return {
        "margins": [
            {"geography": row.geography, "lost": row.lost, "units": figure(row.units_per_s)}
            for row in outlook.margins
        ],
        "providers": [
            {
                "id": row.provider,
                "committed": figure(row.committed),
                "used": figure(row.committed_used),
                "burst": figure(row.burst_used),
            }
            for row in outlook.providers
        ],
        "commitments": [
            {
                "provider": row.provider,
                "period": row.period,
                "kind": row.kind,
                "committed": figure(row.committed),
                "projected": figure(row.projected),
                "ends_ms": row.period_end_ms,
            }
            for row in outlook.commitments
        ],
        "burst_money_per_hour": round(outlook.burst_money_per_hour, 2),
    }


def figure(value: float | None) -> float | None:
    """The value to about four digits, so that what nobody can see causes no change."""
    if value is None:
        return None
    return float(f"{value:.4g}")


def _clean(value: Any) -> Any:
    match value:
        case str():
            return without_controls(value)
        case Mapping():
            return {_clean(key): _clean(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_clean(entry) for entry in value]
        case _:
            return value
