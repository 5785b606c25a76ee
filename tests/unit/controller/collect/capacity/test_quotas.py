"""Quotas of providers in their documented shapes; a missing one states nothing about its region."""

import json
from typing import Any

import pytest

from controller.collect.capacity.provider_quotas import AzureUsages, GoogleQuotas, OracleLimits
from controller.collect.capacity.quotas import Quota
from controller.collect.collector import Findings, Page, Request, UnreadableError
from tests.unit.controller.collect.capacity.stamps import limits, stamp, stated
from tieline.events import Capacity

GPT = "azure/swedencentral/gpt-4o"
GEMINI = "gcp/us-central1/gemini-pro"
OSS = "oci/us-chicago-1/gpt-oss"
URL = "https://quota.example/usages"


def usage(name: str, limit: Any, current: Any = 0) -> dict[str, Any]:
    """One of Azure's usages."""
    return {
        "currentValue": current,
        "limit": limit,
        "name": {"value": name, "localizedValue": f"Tokens Per Minute (thousands) - {name}"},
        "unit": "Count",
    }


def azure(*quotas: Quota, **more: Any) -> AzureUsages:
    """By default two quotas of one group and one of a pool, in thousands of tokens a minute."""
    default = (
        Quota(quota="OpenAI.Standard.gpt-4o", group="azure-europe", region="swedencentral", units=1_000),
        Quota(quota="OpenAI.Global.gpt-4o", group="azure-europe", region="swedencentral", units=1_000),
        Quota(quota="OpenAI.Standard.o4", pool="azure/norwayeast/gpt-4o", units=1_000),
    )
    return AzureUsages(name="quota", url=URL, provider="azure", quotas=quotas or default, **more)


def read(settings: Any, answer: Any) -> Findings:
    """The findings of one body."""
    findings: Findings = settings.read((json.dumps(answer).encode(),), stamp())
    return findings


def groups(findings: Findings) -> dict[str, tuple[str, float]]:
    """The region in which each group is stated, and its limit in units/s."""
    return {
        group.group: (event.region, group.limit_units_per_s)
        for event in findings.events
        if isinstance(event, Capacity)
        for group in event.groups
    }


@pytest.mark.parametrize("wrapped", [True, False])
def test_azure_counts_thousands_of_tokens_a_minute(wrapped: bool) -> None:
    """As the API and as the command write it; the quotas of one group are added up."""
    usages = [
        usage("OpenAI.Standard.gpt-4o", 240),
        usage("OpenAI.Global.gpt-4o", 360.0, 60),
        usage("OpenAI.Standard.o4", 6),
        usage("AccountCount", 30),
    ]
    findings = read(azure(), {"value": usages} if wrapped else usages)
    assert groups(findings) == {"azure-europe": ("swedencentral", 10_000.0)}
    assert limits(findings) == {"azure/norwayeast/gpt-4o": 100.0}
    assert groups(read(azure(allocated=True), usages)) == {"azure-europe": ("swedencentral", 1_000.0)}


@pytest.mark.parametrize("odd", [None, True, "many", {}, [], 1e300])
def test_a_quota_that_is_missing_silences_its_region(odd: Any) -> None:
    """An event without the group would lift its limit. Other regions are stated."""
    for second in ([], [usage("OpenAI.Global.gpt-4o", odd)]):
        findings = read(
            azure(), [usage("OpenAI.Standard.gpt-4o", 240), usage("OpenAI.Standard.o4", 6), *second]
        )
        assert (groups(findings), limits(findings)) == ({}, {"azure/norwayeast/gpt-4o": 100.0})
        assert findings.unmatched == {"the answer has no OpenAI.Global.gpt-4o"}


@pytest.mark.parametrize(
    "answer", [{}, [], {"value": {}}, {"error": {"code": "AuthFailed"}}, "all is well", None]
)
def test_nothing_readable_states_nothing(answer: Any) -> None:
    """Above all no quota of zero; and HTML is no JSON."""
    with pytest.raises(UnreadableError):
        read(azure(), answer)
    with pytest.raises(UnreadableError):
        azure().read((b"<html></html>",), stamp())


def test_a_quota_of_zero_is_one() -> None:
    """The provider says so itself. One that stands twice is none."""
    pool = Quota(quota="a", pool=GPT)
    assert limits(read(azure(pool), [usage("a", 0)])) == {GPT: 0.0}
    with pytest.raises(UnreadableError):
        read(azure(pool), [usage("a", 0), usage("a", 5)])


def test_requests_and_concurrency_stand_beside_units() -> None:
    """A pool needs units in any case."""
    settings = azure(
        Quota(quota="tpm", pool=GPT, units=1_000),
        Quota(quota="rpm", pool=GPT, figure="requests"),
        Quota(quota="parallel", pool=GPT, figure="concurrency"),
    )
    findings = read(settings, [usage("tpm", 60), usage("rpm", 600), usage("parallel", 32)])
    pool = stated(findings)[GPT]
    assert (pool.limit_units_per_s, pool.requests_per_s, pool.concurrency) == (1_000.0, 10.0, 32)
    assert [fault.text for fault in azure(Quota(quota="rpm", pool=GPT, figure="requests")).faults()] == [
        "nothing limits its units: an entry with the figure units is missing"
    ]


def info(dimensions: dict[str, str], value: Any, *places: str) -> dict[str, Any]:
    """One value of a quota, as Cloud Quotas writes it."""
    return {"dimensions": dimensions, "details": {"value": value}, "applicableLocations": list(places)}


def google(**more: Any) -> GoogleQuotas:
    """A quota of tokens a minute by region and model."""
    dimensions = {"region": "us-central1", "base_model": "gemini-pro"}
    quota = Quota(**{"quota": "TokensPerMinute", "pool": GEMINI, "dimensions": dimensions, **more})
    return GoogleQuotas(name="quota", url=URL, provider="gcp", quotas=(quota,))


def test_the_value_for_the_most_dimensions_counts() -> None:
    """A value holds for everything for which there is none that is more specific, where it applies."""
    infos = [
        info({}, "60", "us-central1", "europe-west4"),
        info({"base_model": "gemini-pro"}, "120", "us-central1"),
        info({"base_model": "gemini-pro", "region": "us-central1"}, "240000", "us-central1"),
        info({"base_model": "other", "region": "us-central1"}, "9", "us-central1"),
    ]
    answers = [[{"quotaId": "TokensPerMinute", "dimensionsInfos": infos[:count]}] for count in (1, 2, 4)]
    assert [limits(read(google(), {"quotaInfos": answer}))[GEMINI] for answer in answers] == [
        1.0,
        2.0,
        4_000.0,
    ]
    assert limits(read(google(), answers[2])) == {GEMINI: 4_000.0}
    elsewhere = [{"quotaId": "TokensPerMinute", "dimensionsInfos": [info({}, "60", "europe-west4")]}]
    with pytest.raises(UnreadableError):
        read(google(), elsewhere)


def test_a_quota_without_a_limit() -> None:
    """Is none of a pool, because that would be endless; a group keeps the policy's own limit beside it."""
    answer = [{"quotaId": "TokensPerMinute", "dimensionsInfos": [info({}, "-1", "global")]}]
    with pytest.raises(UnreadableError):
        read(google(), answer)
    assert groups(read(google(pool="", group="g", region="us-central1"), answer)) == {
        "g": ("us-central1", 1e12)
    }


def test_service_usage_has_buckets() -> None:
    """With several limits of one metric the unit chooses."""
    limit = {
        "metric": "m",
        "unit": "1/min/{project}/{region}",
        "quotaBuckets": [
            {"effectiveLimit": "60", "defaultLimit": "60"},
            {"effectiveLimit": "600", "defaultLimit": "60", "dimensions": {"region": "us-central1"}},
            {"effectiveLimit": "6000", "dimensions": {"region": "europe-west4"}},
        ],
    }
    daily = {"metric": "m", "unit": "1/d/{project}", "quotaBuckets": [{"effectiveLimit": "5"}]}
    settings = google(quota="m", dimensions={"region": "us-central1"})
    metrics = [{"metric": "m", "consumerQuotaLimits": [limit]}]
    for answer in ({"metrics": metrics}, metrics):
        assert limits(read(settings, answer)) == {GEMINI: 10.0}
    both = {"metrics": [{"metric": "m", "consumerQuotaLimits": [limit, daily]}]}
    with pytest.raises(UnreadableError):
        read(settings, both)
    chosen = google(quota="m", dimensions={"region": "us-central1", "unit": "1/min/{project}/{region}"})
    assert limits(read(chosen, both)) == {GEMINI: 10.0}


def oracle(**dimensions: str) -> OracleLimits:
    """A limit of dedicated units, each good for 50 units/s."""
    quota = Quota(quota="dedicated-unit-oss-count", pool=OSS, units=50, per_s=1, dimensions=dimensions)
    return OracleLimits(name="quota", url=URL, provider="oci", quotas=(quota,))


def test_oracle_counts_units() -> None:
    """As the API and as the command write it; the availability domains are added up, or one is chosen."""
    name = "dedicated-unit-oss-count"
    values = [
        {"name": name, "scopeType": "AD", "availabilityDomain": "AD-1", "value": 2},
        {"name": name, "scope-type": "AD", "availability-domain": "AD-2", "value": 3},
        {"name": "other", "scopeType": "REGION", "availabilityDomain": None, "value": 90},
    ]
    assert limits(read(oracle(), values)) == {OSS: 250.0}
    assert limits(read(oracle(), {"data": values})) == {OSS: 250.0}
    assert limits(read(oracle(availability_domain="AD-2"), values)) == {OSS: 150.0}
    with pytest.raises(UnreadableError):
        read(oracle(), [*values, {"name": name, "value": None}])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"used": 3, "available": 1, "effectiveQuotaValue": None}, 200.0),
        ({"used": 3, "available": 1, "effectiveQuotaValue": 2.0}, 100.0),
        ({"data": {"used": 3, "available": 1, "effective-quota-value": 2.0}}, 100.0),
    ],
)
def test_oracle_says_what_is_available(answer: Any, expected: float) -> None:
    """One limit at a time, within the quotas of the compartment."""
    assert limits(read(oracle(), answer)) == {OSS: expected}
    with pytest.raises(UnreadableError):
        read(oracle(), {"available": 3})


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (Quota(quota="a"), "give either pool, or group and region"),
        (Quota(quota="a", pool=GPT, group="g", region="r"), "give either pool, or group and region"),
        (Quota(quota="a", group="g"), "give either pool, or group and region"),
        (Quota(quota="a", pool=OSS), "is no pool of azure"),
        (Quota(quota="a", group="g", region="other"), "is stated in swedencentral already"),
    ],
)
def test_contradictions_are_named(quota: Quota, expected: str) -> None:
    """With what to do."""
    group = Quota(quota="b", group="g", region="swedencentral")
    assert any(expected in fault.text for fault in azure(group, quota).faults())


def test_pages_of_an_answer_are_read_as_one() -> None:
    """In the shapes of the APIs, and as commands print them: a quota may be on any page."""
    first, second = usage("OpenAI.Standard.gpt-4o", 240), usage("OpenAI.Global.gpt-4o", 360)
    last = usage("OpenAI.Standard.o4", 6)
    for pages in ([[first], [second, last]], [{"value": [first]}, {"other": 1}, {"value": [second, last]}]):
        bodies = tuple(json.dumps(page).encode() for page in pages)
        findings = azure().read(bodies, stamp())
        assert groups(findings) == {"azure-europe": ("swedencentral", 10_000.0)}
        assert limits(findings) == {"azure/norwayeast/gpt-4o": 100.0}


def monitored(*quotas: Quota) -> GoogleQuotas:
    """Of Cloud Monitoring's address."""
    url = "https://monitoring.googleapis.com/v3/projects/p/timeSeries?filter=a%3D%22b%22"
    return GoogleQuotas(name="quota", url=url, provider="gcp", quotas=quotas)


def series(value: Any, metric: str = "serviceruntime.googleapis.com/quota/limit", **labels: str) -> Any:
    """One time series of a quota's limit, with an older point behind the newest."""
    place = labels.pop("location", "us-central1")
    points = [{"value": value}, {"value": {"int64Value": "1"}}]
    return {
        "metric": {
            "type": metric,
            "labels": {"limit_name": "TokensPerMinute", "quota_metric": "tpm", **labels},
        },
        "resource": {"type": "consumer_quota", "labels": {"service": "aiplatform", "location": place}},
        "points": points,
    }


@pytest.mark.parametrize("name", ["TokensPerMinute", "tpm"])
def test_google_states_limits_as_time_series(name: str) -> None:
    """The newest point of the series with the most matching labels, of the metric of limits only."""
    quota = Quota(
        quota=name, pool=GEMINI, dimensions={"region": "us-central1", "base_model": "pro"}, units=1.0
    )
    answer = {
        "timeSeries": [
            series({"int64Value": "60000"}, base_model="pro"),
            series({"int64Value": "30000"}),
            series({"int64Value": "90000"}, base_model="pro", location="europe-west4"),
            series(
                {"int64Value": "7"}, "serviceruntime.googleapis.com/quota/rate/net_usage", base_model="pro"
            ),
        ]
    }
    assert limits(read(monitored(quota), answer)) == {GEMINI: 1_000.0}
    for odd in (None, {}, {"stringValue": "many"}, {"int64Value": None}):
        with pytest.raises(UnreadableError):
            read(monitored(quota), {"timeSeries": [series(odd, base_model="pro")]})


def test_google_is_told_the_span_of_time() -> None:
    """36 hours up to now, as its monitoring samples a limit once a day; other addresses stay as they are."""
    settings = monitored(Quota(quota="tpm", pool=GEMINI))
    (request,) = settings.requests()
    at = settings.request_at(request, 1_800_000_000_000)
    assert at.url.endswith(
        "timeSeries?filter=a%3D%22b%22&interval.startTime=2027-01-13T20%3A00%3A00Z"
        "&interval.endTime=2027-01-15T08%3A00%3A00Z"
    )
    other = Request("https://cloudquotas.googleapis.com/v1/quotaInfos", request.accepts)
    assert settings.request_at(other, 1_800_000_000_000) is other


def test_every_provider_says_in_its_own_way_that_a_page_follows() -> None:
    """By a URL, by a token in the body, by a token in a header; nothing of it on the last page."""
    quota = Quota(quota="tpm", pool=OSS)
    oracle = OracleLimits(name="quota", url=URL, provider="oci", quotas=(quota,))
    gcp, url = monitored(quota), "https://quota.example/limits?pageSize=2&page=a&pageToken=a"
    assert azure().next_page(url, Page(b'{"value": [], "nextLink": "https://next/"}')) == "https://next/"
    assert gcp.next_page(url, Page(b'{"nextPageToken": "b&c"}')).endswith("page=a&pageToken=b%26c")
    assert oracle.next_page(url, Page(b"[]", "b")).endswith("pageSize=2&pageToken=a&page=b")
    for settings in (azure(), gcp, oracle):
        for body in (b'{"nextLink": null, "nextPageToken": ""}', b"[]"):
            assert settings.next_page(url, Page(body)) == ""
