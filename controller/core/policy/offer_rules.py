"""When the controller asks providers for more capacity, and how long each of them has to answer."""

from typing import Annotated

from msgspec import Meta, Struct

from controller.core.policy.thresholds import Period
from tieline.event_fields import Rate
from tieline.table import Criticality

NEEDED_FOR_MAX_MS = 10 * 366 * 86_400_000

Growth = Annotated[float, Meta(ge=0, le=10, description="a share of today's demand, e.g. 0.2")]
Term = Annotated[int, Meta(ge=60_000, le=NEEDED_FOR_MAX_MS, description="milliseconds, up to ten years")]


class OfferRules(Struct, frozen=True, omit_defaults=True):
    """How requests for capacity are made; docs/offers.md tells the whole flow.

    Capacity is asked for where load of ``least_criticality`` and above is shed, where critical load would be
    shed after one loss, or after demand has grown by the share ``growth``: once that was so for
    ``short_for_ms``. A request is withdrawn once enough was there for ``enough_for_ms``. The next one for the
    same geographies comes ``again_after_ms`` after the last has ended, at the earliest.

    The holder of the first refusal has ``holder_answers_within_ms``, and then the others have
    ``others_answer_within_ms``. Capacity is wanted ``lead_ms`` after the request, for ``needed_for_ms``.
    Less than ``units_min`` is never asked for. Dearer offers than ``price_max_per_million_units`` do not
    count; None: any price does.
    """

    growth: Growth = 0.0
    least_criticality: Criticality = "critical"
    short_for_ms: Period = 300_000
    enough_for_ms: Period = 600_000
    again_after_ms: Period = 3_600_000
    holder_answers_within_ms: Period = 900_000
    others_answer_within_ms: Period = 3_600_000
    lead_ms: Period = 0
    needed_for_ms: Term = 30 * 86_400_000
    units_min: Rate = 1.0
    price_max_per_million_units: Rate | None = None
