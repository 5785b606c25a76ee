"""Status.io, ``https://api.status.io/1.0/status/PAGE``, which hosts the page of CoreWeave and others.

A component has containers, which are places such as data centres. What counts is the code of each
container; a component without containers has its own. Codes are those of Status.io's API. An incident that
is being examined degrades what it lists even while that still says 100, because people announce an incident
first.
"""

from collections.abc import Iterator
from typing import Any

from controller.collect.feeds.parts import Part, Tally, document, instant_ms, plain_text, required, text
from controller.collect.feeds.placing import IllState, Incident, View, Window
from controller.collect.feeds.status_feed import StatusFeed

WELL, IN_MAINTENANCE = 100, 200
STATES: dict[int, IllState] = {300: "degraded", 400: "degraded", 500: "down", 600: "degraded"}
CODES = {
    "operational": 100,
    "planned maintenance": 200,
    "degraded performance": 300,
    "partial service disruption": 400,
    "service disruption": 500,
    "security event": 600,
}
BEING_EXAMINED = (100, 200)  # states of a message: investigating, identified


class StatusIo(StatusFeed, frozen=True, kw_only=True, tag="statusio"):
    """A page hosted by Status.io. ``regions`` and ``products`` map names of containers and components: a name
    that ``regions`` has is a place, every other one a product."""

    def view(self, bodies: tuple[bytes, ...], now_ms: int) -> View:
        """See ``StatusFeed``."""
        page = document(bodies[0])
        result = page.get("result") if isinstance(page, dict) else None
        return _HostedPage(self, required(result, "status"), result or {}, now_ms=now_ms).view()


class _HostedPage:
    def __init__(self, feed: StatusIo, components: list[Any], result: Part, *, now_ms: int) -> None:
        self._feed = feed
        self._tally = Tally()
        self._components = self._tally.parts(components)
        self._incidents = self._listed(result, "incidents")
        maintenance = result.get("maintenance")
        maintenance = maintenance if isinstance(maintenance, dict) else {}
        self._active = self._listed(maintenance, "active")
        self._upcoming = self._listed(maintenance, "upcoming")
        self._now_ms = now_ms

    def view(self) -> View:
        incidents, windows = [], []
        for component, container in self._units():
            code = self._code(container or component)
            names = frozenset(filter(None, (text(component, "name"), text(container, "name"))))
            places, products = self._feed.split(names)
            words = plain_text(
                f"{' in '.join(sorted(names))}: {text(container or component, 'status') or code}"
            )
            if code == IN_MAINTENANCE:
                windows.append(Window(self._now_ms, None, places, products=products, text=words))
            elif code not in (None, WELL):
                incidents.append(Incident(STATES.get(code or 0, "degraded"), places, products, text=words))
        incidents += self._announced()
        windows += [
            *self._windows(self._active, is_active=True),
            *self._windows(self._upcoming, is_active=False),
        ]
        return View(tuple(incidents), tuple(windows), self._tally.unread)

    def _listed(self, part: Part, field: str) -> list[Part]:
        if field not in part:
            self._tally.unread += 1
        return self._tally.parts(part.get(field))

    def _units(self) -> Iterator[tuple[Part, Part]]:
        """Each component with each of its containers, or with nothing if it has none."""
        for component in self._components:
            containers = self._tally.parts(component.get("containers"))
            yield from ((component, container) for container in containers or ({},))

    def _code(self, unit: Part) -> int | None:
        """The code of a container or component; None for one that can't be read."""
        code = unit.get("status_code")
        if isinstance(code, int) and not isinstance(code, bool):
            return code
        if (code := CODES.get(text(unit, "status").lower())) is None:
            self._tally.unread += 1
        return code

    def _announced(self) -> Iterator[Incident]:
        for incident in self._incidents:
            if incident.get("datetime_resolved") or _state_of(incident) not in BEING_EXAMINED:
                continue
            places, products = self._feed.split(self._names(incident))
            words = plain_text(text(incident, "name"))
            yield Incident("degraded", places, products, text=words)

    def _names(self, entry: Part) -> frozenset[str]:
        """The names of what an incident or a window affects."""
        fields = ("components_affected", "containers_affected")
        parts = [part for field in fields for part in self._tally.parts(entry.get(field))]
        return frozenset(filter(None, (text(part, "name") for part in parts)))

    def _windows(self, entries: list[Part], *, is_active: bool) -> Iterator[Window]:
        for entry in entries:
            starts_ms = instant_ms(entry.get("datetime_planned_start"))
            ends_ms = instant_ms(entry.get("datetime_planned_end"))
            if starts_ms is None or ends_ms is None:
                self._tally.unread += 1
                continue
            # Work that takes longer than planned goes on for as long as the page calls it active.
            is_late = is_active and ends_ms <= self._now_ms
            places, products = self._feed.split(self._names(entry))
            words = plain_text(text(entry, "name"))
            yield Window(starts_ms, None if is_late else ends_ms, places, products=products, text=words)


def _state_of(incident: Part) -> int:
    """The state in the last message of an incident; one without any is being examined."""
    messages = incident.get("messages")
    parts = [part for part in messages if isinstance(part, dict)] if isinstance(messages, list) else []
    last = max(parts, key=lambda part: instant_ms(part.get("datetime")) or 0, default={})
    state = last.get("state")
    return state if isinstance(state, int) else BEING_EXAMINED[0]
