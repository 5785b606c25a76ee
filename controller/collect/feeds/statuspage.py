"""Statuspage (Atlassian), ``/api/v2/summary.json``: components, incidents and scheduled maintenance.

A component's own status is what counts. An incident that is being investigated degrades the components that
it lists even while these still say ``operational``, because people announce an incident first. A
component's place and product are its own name and the name of its group.
"""

from controller.collect.feeds.parts import Part, Tally, document, instant_ms, plain_text, required, text
from controller.collect.feeds.placing import IllState, Incident, View, Window
from controller.collect.feeds.status_feed import StatusFeed

WELL = "operational"
STATES: dict[str, IllState] = {
    "degraded_performance": "degraded",
    "partial_outage": "degraded",
    "major_outage": "down",
}
IN_MAINTENANCE = "under_maintenance"
BEING_EXAMINED = ("investigating", "identified")
UNDER_WAY = ("in_progress", "verifying")
ENDED = ("resolved", "postmortem", "completed")


class Statuspage(StatusFeed, frozen=True, kw_only=True, tag="statuspage"):
    """A page hosted by Statuspage. ``url`` is that of its ``summary.json``."""

    def view(self, bodies: tuple[bytes, ...], now_ms: int) -> View:
        """See ``StatusFeed``."""
        page = document(bodies[0])
        return _Page(self, page, now_ms).view()


class _Page:
    def __init__(self, feed: Statuspage, page: Part, now_ms: int) -> None:
        self._tally = Tally()
        entries = self._tally.parts(required(page, "components"))
        groups = {text(entry, "id"): text(entry, "name") for entry in entries if entry.get("group") is True}
        self._components = [entry for entry in entries if entry.get("group") is not True]
        self._names = {
            text(entry, "id"): frozenset(
                filter(None, (text(entry, "name"), groups.get(text(entry, "group_id"))))
            )
            for entry in self._components
        }
        self._incidents = self._listed(page, "incidents")
        self._windows = self._listed(page, "scheduled_maintenances")
        self._feed = feed
        self._now_ms = now_ms

    def view(self) -> View:
        incidents = [*self._of_components(), *self._announced()]
        windows = [*self._under_way(), *self._scheduled()]
        return View(tuple(incidents), tuple(windows), self._tally.unread)

    def _listed(self, page: Part, field: str) -> list[Part]:
        if field not in page:
            self._tally.unread += 1
        return self._tally.parts(page.get(field))

    def _of_components(self) -> list[Incident]:
        incidents = []
        for component in self._components:
            status = self._tally.text(component, "status")
            if status in ("", WELL, IN_MAINTENANCE):
                continue
            places, products = self._feed.split(self._names[text(component, "id")])
            words = self._words_about(text(component, "id")) or f"{text(component, 'name')}: {status}"
            incidents.append(
                Incident(STATES.get(status, "degraded"), places, products, text=plain_text(words))
            )
        return incidents

    def _words_about(self, component: str) -> str:
        for incident in self._incidents:
            listed = incident.get("components")
            parts = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
            if component and any(text(entry, "id") == component for entry in parts):
                return text(incident, "name")
        return ""

    def _announced(self) -> list[Incident]:
        """Incidents that are being examined, for the components that they list."""
        incidents = []
        for incident in self._incidents:
            status = self._tally.text(incident, "status")
            if status not in BEING_EXAMINED or text(incident, "impact") == "none":
                continue
            for names in self._listed_names(incident) or [frozenset[str]()]:
                places, products = self._feed.split(names)
                incidents.append(
                    Incident("degraded", places, products, text=plain_text(text(incident, "name")))
                )
        return incidents

    def _listed_names(self, entry: Part) -> list[frozenset[str]]:
        """The names of each component that an incident or a window lists."""
        listed = self._tally.parts(entry.get("components"))
        return [
            self._names.get(text(part, "id")) or frozenset(filter(None, [text(part, "name")]))
            for part in listed
        ]

    def _under_way(self) -> list[Window]:
        """Components that say that they are under maintenance, for as long as they say so."""
        windows = []
        for component in self._components:
            if text(component, "status") == IN_MAINTENANCE:
                places, products = self._feed.split(self._names[text(component, "id")])
                name = plain_text(text(component, "name"))
                windows.append(
                    Window(self._now_ms, None, places, products=products, text=f"{name}: maintenance")
                )
        return windows

    def _scheduled(self) -> list[Window]:
        windows = []
        for entry in self._windows:
            status = self._tally.text(entry, "status")
            if status in ("", *ENDED):
                continue
            starts_ms, ends_ms = (
                instant_ms(entry.get("scheduled_for")),
                instant_ms(entry.get("scheduled_until")),
            )
            if starts_ms is None or ends_ms is None:
                self._tally.unread += 1
                continue
            # Work that takes longer than planned goes on for as long as the page calls it under way.
            is_late = status in UNDER_WAY and ends_ms <= self._now_ms
            for names in self._listed_names(entry) or [frozenset[str]()]:
                places, products = self._feed.split(names)
                words = plain_text(text(entry, "name"))
                windows.append(
                    Window(starts_ms, None if is_late else ends_ms, places, products=products, text=words)
                )
        return windows
