"""Oracle Cloud, ``https://ocistatus.oraclecloud.com/api/v2/components_v2.json``: the health of each service
in each region. A status that nobody has seen yet degrades."""

from controller.collect.feeds.parts import Part, Tally, document, plain_text, required, text
from controller.collect.feeds.placing import IllState, Incident, View, Window, bare
from controller.collect.feeds.status_feed import StatusFeed

WELL = "normalperformance"
OUTAGES = ("outage", "unavailable")
REGION_NAMES = ("regionCanonicalName", "regionName", "regionId")
SERVICE_NAMES = ("serviceName", "serviceCanonicalName", "serviceId")


class OracleStatus(StatusFeed, frozen=True, kw_only=True, tag="oracle_status"):
    """The health reports of Oracle's regions. ``regions`` maps names such as ``us-chicago-1``, ``products``
    names of services such as ``Generative AI``."""

    def view(self, bodies: tuple[bytes, ...], now_ms: int) -> View:
        """See ``StatusFeed``."""
        tally = Tally()
        incidents: list[Incident] = []
        windows: list[Window] = []
        for region in tally.parts(required(document(bodies[0]), "regionHealthReports")):
            for service in self._services(region, tally):
                status = bare(tally.text(service, "serviceStatus"))
                if not status or status == WELL or "information" in status:
                    continue
                places = self.chosen_names([region], REGION_NAMES)
                products = self.chosen_names([service], SERVICE_NAMES)
                words = _words(region, service)
                if "maintenance" in status:
                    windows.append(Window(now_ms, None, places, products=products, text=words))
                else:
                    incidents.append(Incident(_state(status), places, products, text=words))
        return View(tuple(incidents), tuple(windows), tally.unread)

    def _services(self, region: Part, tally: Tally) -> list[Part]:
        if "serviceHealthReports" not in region:
            tally.unread += 1
        return tally.parts(region.get("serviceHealthReports"))


def _state(status: str) -> IllState:
    return "down" if any(word in status for word in OUTAGES) else "degraded"


def _words(region: Part, service: Part) -> str:
    where, what = text(region, REGION_NAMES[0]), text(service, SERVICE_NAMES[0])
    return plain_text(f"{what} in {where}: {text(service, 'serviceStatus')}")
