"""Google Cloud, ``https://status.cloud.google.com/incidents.json``: all incidents of the past years, newest
first.

An incident goes on while it has no ``end``, or when an update later than its end says that something is
wrong again. What counts is the state in its latest update, as far as that names one; or else that of the
incident, for as long as locations are affected now. So a last update that only says sorry ends nothing.
"""

from collections.abc import Iterable

from controller.collect.collector import UnreadableError
from controller.collect.feeds.parts import Part, Tally, document, instant_ms, plain_text, text
from controller.collect.feeds.placing import IllState, Incident, View
from controller.collect.feeds.status_feed import StatusFeed

STATES: dict[str, IllState] = {"SERVICE_OUTAGE": "down", "SERVICE_DISRUPTION": "degraded"}
WELL = ("AVAILABLE", "AVAILABLE_INFORMATION", "SERVICE_INFORMATION")


class GoogleStatus(StatusFeed, frozen=True, kw_only=True, tag="google_status"):
    """The incidents of Google Cloud. ``regions`` maps location ids such as ``us-central1``, ``products``
    titles such as ``Vertex AI`` or product ids. The location ``global`` is every region."""

    def view(self, bodies: tuple[bytes, ...], now_ms: int) -> View:  # noqa: ARG002 (its instants are its own)
        """See ``StatusFeed``."""
        entries = document(bodies[0])
        if not isinstance(entries, list) or not entries:
            # The feed keeps years of incidents, so a list without any is not the feed.
            raise UnreadableError("the body is no list of incidents, or an empty one")
        tally = Tally()
        incidents = [self._incident(entry, tally) for entry in _latest(tally.parts(entries))]
        return View(tuple(filter(None, incidents)), unread=tally.unread)

    def _incident(self, entry: Part, tally: Tally) -> Incident | None:
        update = entry.get("most_recent_update")
        update = update if isinstance(update, dict) else {}
        latest = text(update, "status")
        if _is_over(entry, update, tally):
            return None
        affected = _listed(entry, "currently_affected_locations", tally)
        state = STATES.get(latest)
        if state is None and (affected or latest not in WELL):
            impact = tally.text(entry, "status_impact")
            state = None if impact in ("", *WELL) else STATES.get(impact, "degraded")
        if state is None:
            return None
        return Incident(
            state,
            self.chosen_names(affected or _listed(update, "affected_locations", tally), ("id", "title")),
            self.chosen_names(_listed(entry, "affected_products", tally), ("title", "id")),
            text=plain_text(text(entry, "external_desc") or text(entry, "id")),
        )


def _is_over(entry: Part, update: Part, tally: Tally) -> bool:
    """Whether the incident has ended and was not opened again."""
    if entry.get("end") is None:
        return False
    ended_ms = instant_ms(entry["end"])
    if ended_ms is None:
        tally.unread += 1
        return True
    updated_ms = instant_ms(update.get("when"))
    return text(update, "status") not in STATES or updated_ms is None or updated_ms <= ended_ms


def _latest(entries: Iterable[Part]) -> list[Part]:
    """The entries, of those with the same id the one that was modified last."""
    by_id: dict[str, Part] = {}
    without_id = []
    for entry in entries:
        name = text(entry, "id")
        if not name:
            without_id.append(entry)
        elif name not in by_id or _modified_ms(entry) > _modified_ms(by_id[name]):
            by_id[name] = entry
    return [*by_id.values(), *without_id]


def _modified_ms(entry: Part) -> int:
    return instant_ms(entry.get("modified")) or 0


def _listed(part: Part, field: str, tally: Tally) -> list[Part]:
    return tally.parts(part.get(field))
