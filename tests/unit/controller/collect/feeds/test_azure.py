"""Azure's RSS: which item is about what, and an empty feed is not a broken one."""

from __future__ import annotations

from xml.sax.saxutils import escape

import msgspec
import pytest

from controller.collect.collector import UnreadableError
from controller.collect.feeds.azure import names_in
from tests.unit.controller.collect.feeds.readings import findings_of, rows, states
from tests.unit.controller.collect.feeds.shapes import SHAPES


def feed(*titles: str, text: str = "", tags: tuple[str, ...] = ()) -> bytes:
    """A feed with these items."""
    categories = "".join(f"<category>{tag}</category>" for tag in tags)
    entries = "".join(
        f"<item><title>{escape(title)}</title><description>{escape(text)}</description>{categories}</item>"
        for title in titles
    )
    return f'<rss version="2.0"><channel><title>Azure Status</title>{entries}</channel></rss>'.encode()


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Outage - Azure OpenAI Service - Sweden Central", "down"),
        ("Partial outage - Azure OpenAI Service - Sweden Central", "degraded"),
        ("No outage but errors - Azure OpenAI Service - Sweden Central", "degraded"),
        ("Azure OpenAI Service: intermittent failures in Sweden Central", "degraded"),
        ("Not yet mitigated: Azure OpenAI Service, Sweden Central", "degraded"),
        ("Issue after maintenance - Azure OpenAI Service - Sweden Central", "degraded"),
        ("Mitigated - Outage - Azure OpenAI Service - Sweden Central", None),
        ("RCA - Outage - Azure OpenAI Service - Sweden Central", None),
        ("Informational - Azure OpenAI Service - Sweden Central", None),
        ("Planned maintenance - Azure OpenAI Service - Sweden Central", None),
        ("Outage - Azure DevOps - Sweden Central", None),
        ("Outage - Azure OpenAI Service - Poland Central", None),
    ],
)
def test_a_title_says_what_an_item_is(title: str, expected: str | None) -> None:
    """Only the feed's own word for an outage makes it down; what is over or only informs is no claim."""
    assert states(findings_of("azure", feed(title))).get("swedencentral") == expected


def test_categories_and_description_help_where_the_title_says_nothing() -> None:
    """The description is looked at last: it may name regions that are well."""
    service = "Azure OpenAI Service"
    tagged = feed("Failures", tags=(service, "East US"), text="Sweden Central takes over")
    assert states(findings_of("azure", tagged)) == {"eastus": "degraded"}
    described = feed(f"{service} fails", text="<p>in <b>Sweden</b> Central since 09:00</p>")
    assert states(findings_of("azure", described)) == {"swedencentral": "degraded"}


def test_global_is_every_region() -> None:
    """Of those that the settings name."""
    claims = states(findings_of("azure", feed("Azure OpenAI Service fails", tags=("Global",))))
    assert set(claims) == {"swedencentral", "eastus", "eastus2"}


def test_a_model_beside_its_service_is_what_an_item_is_about() -> None:
    """So one model that fails in a region leaves the region's other pools well."""
    pool = "azure/eastus/gpt-52"
    feed_of_models = msgspec.structs.replace(
        SHAPES["azure"].feed, products={"Azure OpenAI Service": (), "GPT-5.2": (pool,)}
    )
    for title, pools in (("Azure OpenAI Service GPT-5.2 fails", (pool,)), ("Azure OpenAI Service fails", ())):
        findings = findings_of("azure", feed(title, tags=("East US",)), feed_of_models)
        assert rows(findings) == [("status", "eastus", "degraded", pools)]


def test_a_longer_name_hides_a_shorter_one() -> None:
    """As whole words, whatever their case and what is between them."""
    names = ("East US", "East US 2", "US")
    assert names_in("in EAST-US 2, and elsewhere", names) == {"East US 2"}
    assert names_in("East US and East US 2", names) == {"East US", "East US 2"}
    assert names_in("Eastern USA", names) == frozenset()
    assert names_in("", names) == names_in("US", ()) == frozenset()


def test_no_items_mean_that_all_is_well() -> None:
    """Each region gets an empty statement."""
    findings = findings_of("azure", feed())
    assert (len(findings.events), states(findings)) == (6, {})


BOMB = b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
EXTERNAL = b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>All is well</body></html>",
        b"<Error><Code>AccessDenied</Code></Error>",
        b"<rss/>",
        b"<rss><channel/></rss>",
        b"<feed><channel><title>x</title></channel></feed>",
        feed("x")[:-20],
        b'{"status": "ok"}',
        BOMB + feed(),
        EXTERNAL + feed(),
        b"<?xml version='1.0' encoding='utf-99'?>" + feed(),
        feed().decode().encode("utf-16")[:-1],
        b"<a>" * 100_000,
    ],
)
def test_what_is_no_feed_is_not_an_empty_feed(body: bytes) -> None:
    """An error page, another document, a cut one, and what expands or reads files."""
    with pytest.raises(UnreadableError):
        findings_of("azure", body)
