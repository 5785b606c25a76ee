"""The quota APIs of Azure, Google Cloud and Oracle Cloud, by their public documentation. Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from controller.collect.capacity.quotas import Quota, Quotas, count_of, with_parameters
from controller.collect.collector import Page, Request
from controller.collect.feeds.parts import Part, document, text

MONITORED = "serviceruntime.googleapis.com/quota/limit"
SPAN_MS = 36 * 3_600_000  # Cloud Monitoring samples limits once a day


class AzureUsages(Quotas, frozen=True, kw_only=True, tag="azure_usages"):
    """Azure's usages of a location: ``GET /subscriptions/ID/providers/Microsoft.CognitiveServices/locations/
    LOCATION/usages``, or what ``az cognitiveservices usage list`` prints.

    ``quota``: the name's value, such as ``OpenAI.Standard.gpt-4o``, which counts thousands of tokens a minute
    (``units: 1000``). ``allocated``: count what is given to deployments (currentValue) in the place of the
    limit. It is no measure of what is used now.
    """

    allocated: bool = False

    def next_page(self, url: str, page: Page) -> str:  # noqa: ARG002 (it is in the answer as a whole)
        """See ``Collector``: Azure names the next page by its URL, ``nextLink``."""
        return _token(page, "nextLink")

    def count(self, answer: Any, quota: Quota) -> float | None:
        """See ``Quotas``."""
        counts = [
            entry.get("currentValue" if self.allocated else "limit")
            for entry in _parts(answer, "value")
            if isinstance(name := entry.get("name"), Mapping) and text(name, "value") == quota.quota
        ]
        return count_of(counts[0]) if len(counts) == 1 else None


class GoogleQuotas(Quotas, frozen=True, kw_only=True, tag="google_quotas"):
    """Google Cloud's quotas, in one of three documented shapes: Cloud Quotas (``GET
    cloudquotas.googleapis.com/v1/projects/ID/locations/global/services/SERVICE/quotaInfos``), Service Usage
    (``GET serviceusage.googleapis.com/v1beta1/projects/ID/services/SERVICE/consumerQuotaMetrics``), or Cloud
    Monitoring (``GET monitoring.googleapis.com/v3/projects/ID/timeSeries?filter=...``, of the metric
    ``serviceruntime.googleapis.com/quota/limit``); also as gcloud prints the first two.

    ``quota``: the quotaId of the first, the metric of the second, the name of the limit or of the quota
    metric of the third. ``dimensions``: such as region and base_model. The value for the most of them counts,
    as the APIs define it. A metric of Service Usage with several limits needs the dimension ``unit``, such as
    ``1/min/{project}/{region}``.
    """

    def request_at(self, request: Request, now_ms: int) -> Request:
        """See ``Collector``: Cloud Monitoring must be told a span of time. It has a limit once a day."""
        if not urlsplit(request.url).path.endswith("/timeSeries") or request.url.startswith("file:"):
            return request
        span = {"interval.startTime": _iso(now_ms - SPAN_MS), "interval.endTime": _iso(now_ms)}
        return request._replace(url=with_parameters(request.url, **span))

    def next_page(self, url: str, page: Page) -> str:
        """See ``Collector``: Google gives a token for the next page."""
        token = _token(page, "nextPageToken")
        return with_parameters(url, pageToken=token) if token else ""

    def count(self, answer: Any, quota: Quota) -> float | None:
        """See ``Quotas``."""
        if isinstance(answer, Mapping) and "timeSeries" in answer:
            return _monitored_count(_parts(answer, "timeSeries"), quota)
        if isinstance(answer, Mapping) and "metrics" in answer:
            return _service_usage_count(_parts(answer, "metrics"), quota)
        entries = list(_parts(answer, "quotaInfos"))
        if any("consumerQuotaLimits" in entry for entry in entries):
            return _service_usage_count(iter(entries), quota)
        matching = [entry for entry in entries if text(entry, "quotaId") == quota.quota]
        if len(matching) != 1:
            return None
        infos = [
            (_dimensions(info), details.get("value"))
            for info in _parts(matching[0].get("dimensionsInfos"), "")
            if isinstance(details := info.get("details"), Mapping) and _applies(info, quota.dimensions)
        ]
        return _most_specific(infos, quota.dimensions)


class OracleLimits(Quotas, frozen=True, kw_only=True, tag="oracle_limits"):
    """Oracle Cloud's limits: ``GET /20190729/limitValues``, or ``GET
    /20190729/services/SERVICE/limits/LIMIT/resourceAvailability`` for one limit within the compartment's
    quotas; also as ``oci limits`` prints them.

    ``quota``: the name of the limit. ``dimensions``: ``availability_domain`` chooses one, without it those
    of all are added up.
    """

    def next_page(self, url: str, page: Page) -> str:
        """See ``Collector``: Oracle gives a token for the next page in a header."""
        return with_parameters(url, page=page.following) if page.following else ""

    def count(self, answer: Any, quota: Quota) -> float | None:
        """See ``Quotas``."""
        availability = answer.get("data", answer) if isinstance(answer, Mapping) else None
        if isinstance(availability, Mapping) and "available" in availability:
            return _available(availability)
        domain = quota.dimensions.get("availability_domain")
        counts = []
        for entry in _parts(answer, "data"):
            own_domain = text(entry, "availabilityDomain") or text(entry, "availability-domain")
            if text(entry, "name") == quota.quota and domain in (None, own_domain):
                counts.append(count_of(entry.get("value")))
        amounts = [count for count in counts if count is not None]
        return sum(amounts) if amounts and len(amounts) == len(counts) else None


def _token(page: Page, field: str) -> str:
    """What an answer says of the page after it; empty for the last, and for a list as commands print it."""
    answer = document(page.body)
    value = answer.get(field) if isinstance(answer, Mapping) else None
    return value if isinstance(value, str) else ""


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _monitored_count(series: Iterator[Part], quota: Quota) -> float | None:
    """The newest value of a limit in time series of Cloud Monitoring, which have their newest point first."""
    values = []
    for entry in series:
        labels, place = _labels(entry, "metric"), _labels(entry, "resource").get("location")
        names = (labels.pop("limit_name", None), labels.pop("quota_metric", None))
        metric = entry.get("metric")
        if not isinstance(metric, Mapping) or metric.get("type") != MONITORED or quota.quota not in names:
            continue
        own = labels if place in (None, "global") else {**labels, "region": place}
        values.append((own, _newest(entry)))
    return _most_specific(values, quota.dimensions)


def _labels(part: Part, field: str) -> dict[str, Any]:
    described = part.get(field)
    labels = described.get("labels") if isinstance(described, Mapping) else None
    return dict(labels) if isinstance(labels, Mapping) else {}


def _newest(series: Part) -> Any:
    point = next(_parts(series, "points"), None)
    value = point.get("value") if point is not None else None
    return value.get("int64Value", value.get("doubleValue")) if isinstance(value, Mapping) else None


def _parts(answer: Any, field: str) -> Iterator[Part]:
    """The objects of a list, or of the list in a field. Commands print the list alone."""
    entries = answer.get(field) if isinstance(answer, Mapping) else answer
    if isinstance(entries, list):
        yield from (entry for entry in entries if isinstance(entry, Mapping))


def _dimensions(part: Part) -> dict[str, Any]:
    dimensions = part.get("dimensions")
    return dict(dimensions) if isinstance(dimensions, Mapping) else {}


def _applies(info: Part, dimensions: Mapping[str, str]) -> bool:
    """Whether the place that is asked for is among the locations of a quota's value, if it names them."""
    locations = info.get("applicableLocations")
    place = dimensions.get("zone") or dimensions.get("region")
    if not place or not isinstance(locations, list):
        return True
    return place in locations or "global" in locations


def _most_specific(values: list[tuple[dict[str, Any], Any]], dimensions: Mapping[str, str]) -> float | None:
    """The count whose dimensions all match, of several the one with the most of them."""
    matching = [
        (len(own), value)
        for own, value in values
        if all(dimensions.get(name) == value for name, value in own.items())
    ]
    most = max((size for size, _ in matching), default=0)
    best = [value for size, value in matching if size == most]
    return count_of(best[0]) if len(best) == 1 else None


def _service_usage_count(metrics: Iterator[Part], quota: Quota) -> float | None:
    """The effective limit in the answer of Service Usage."""
    dimensions = {name: value for name, value in quota.dimensions.items() if name != "unit"}
    unit = quota.dimensions.get("unit")
    limits = [
        limit
        for metric in metrics
        if text(metric, "metric") == quota.quota
        for limit in _parts(metric.get("consumerQuotaLimits"), "")
        if unit in (None, text(limit, "unit"))
    ]
    if len(limits) != 1:
        return None
    buckets = [
        (_dimensions(bucket), bucket.get("effectiveLimit"))
        for bucket in _parts(limits[0].get("quotaBuckets"), "")
    ]
    return _most_specific(buckets, dimensions)


def _available(answer: Part) -> float | None:
    """The whole of a limit: the quota that is in effect, or what is used and what is left."""
    quota = answer.get("effectiveQuotaValue", answer.get("effective-quota-value"))
    if quota is not None:
        return count_of(quota)
    used, left = count_of(answer.get("used")), count_of(answer.get("available"))
    return None if used is None or left is None else used + left
