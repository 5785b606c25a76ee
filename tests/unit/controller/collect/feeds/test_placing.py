"""From entries to statements: names, pools, expiry, and what is taken back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.collect.collector import Findings
from controller.collect.feeds.parts import TEXT_MAX, instant_ms, plain_text
from controller.collect.feeds.placing import Incident, Placing, View, Window
from tests.unit.controller.collect.feeds.readings import HOUR_MS, rows
from tests.unit.controller.collect.feeds.shapes import SHAPES, stamp
from tests.unit.controller.collect.feeds.truths import NOW_MS
from tieline.events import Statement

SHAPE = SHAPES["azure"]
SWEDEN, EAST = ("azure/swedencentral/a", "azure/swedencentral/b"), ("azure/eastus/a",)
PRODUCTS = {"All": (), "Model A": (SWEDEN[0], *EAST), "Model B": (SWEDEN[1],)}


def placed(
    *incidents: Incident, windows: tuple[Window, ...] = (), unread: int = 0, **settings: Any
) -> Findings:
    """The findings for these entries."""
    feed = msgspec.structs.replace(SHAPE.feed, **{"products": PRODUCTS, **settings})
    return Placing(feed, stamp(SHAPE)).findings(View(incidents, windows, unread))


def incident(places: str = "Sweden Central", products: str = "All", state: Any = "degraded") -> Incident:
    """Names are separated by |."""
    names = [frozenset(filter(None, text.split("|"))) for text in (places, products)]
    return Incident(state, names[0], names[1], text=f"{places} {products}")


@pytest.mark.parametrize(
    ("places", "products", "expected"),
    [
        ("Sweden Central", "All", {("swedencentral", ())}),
        ("SWEDEN-central", "all", {("swedencentral", ())}),
        ("Sweden Central|East US", "Model A", {("swedencentral", SWEDEN[:1]), ("eastus", EAST)}),
        ("Sweden Central", "Model A|Model B", {("swedencentral", SWEDEN)}),
        ("Sweden Central", "Model A|All", {("swedencentral", ())}),
        ("East US", "Model B", set()),  # it has no pool there
        ("global", "Model B", {("swedencentral", SWEDEN[1:])}),
        ("mars", "All", set()),
        ("Sweden Central", "Model C", set()),
        ("", "All", set()),
        ("Sweden Central", "", set()),
    ],
)
def test_names_lead_to_regions_and_pools(places: str, products: str, expected: set[Any]) -> None:
    """What is mapped to nothing makes no claim."""
    claims = rows(placed(incident(places, products)))
    assert {(region, pools) for _, region, _, pools in claims} == expected


def test_what_is_mapped_to_nothing_is_told() -> None:
    """Each name once; an entry without names by its text."""
    findings = placed(
        incident("mars|moon"), incident("East US", "Model C"), incident(""), incident("East US", "")
    )
    assert findings.unmatched == {
        *("mars", "moon", "Model C"),
        *("an entry without a place:  All", "an entry without a product: East US "),
    }


def test_any_product_and_no_place_may_be_mapped() -> None:
    """By `*` under products, and by unplaced."""
    products = {"*": (), "Model B": (SWEDEN[1],)}
    findings = placed(incident("", "whatever"), products=products, unplaced=("eastus",))
    assert rows(findings) == [("status", "eastus", "degraded", ())]
    assert rows(placed(incident("East US", ""), products=products)) == [("status", "eastus", "degraded", ())]
    assert rows(placed(incident(products="Model B"), products=products))[0][3] == SWEDEN[1:]


def test_the_worst_state_counts() -> None:
    """One claim for each set of pools, however many incidents there are."""
    entries = [incident(), incident(state="down"), *[incident() for _ in range(1_000)]]
    findings = placed(*entries)
    assert rows(findings) == [("status", "swedencentral", "down", ())]
    [claim] = [claim for event in findings.events if isinstance(event, Statement) for claim in event.claims]
    assert claim.text == "Sweden Central All (and 1001 more)"
    assert claim.expires_ms == NOW_MS + 600_000


def test_every_region_is_stated_unless_a_part_is_unread() -> None:
    """An empty statement takes back what was said before; beside an unread part there is none."""
    assert [(e.region, e.kind) for e in placed(incident()).events if isinstance(e, Statement)] == [
        (region, kind)
        for kind in ("status", "maintenance")
        for region in ("eastus", "eastus2", "swedencentral")
    ]
    assert len(placed(incident(), unread=1).events) == 1


def test_windows_may_be_left_out() -> None:
    """Then no statement of that kind is sent, not even an empty one."""
    window = Window(
        NOW_MS + HOUR_MS, NOW_MS + 2 * HOUR_MS, frozenset({"East US"}), products=frozenset({"All"}), text="w"
    )
    assert rows(placed(windows=(window,))) == [("maintenance", "eastus", "maintenance", ())]
    findings = placed(windows=(window,), maintenance=False)
    assert {event.kind for event in findings.events if isinstance(event, Statement)} == {"status"}


def test_text_is_made_plain_and_short() -> None:
    """Without markup, line ends, control and direction characters."""
    assert plain_text("<p>one &amp;\n two\u202e</p>\x00") == "one & two"
    assert len(plain_text("x" * 100_000)) == TEXT_MAX
    assert plain_text("\ud800") == "?"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-05-28T20:26:40Z", NOW_MS),
        ("2026-05-28T22:26:40.000+02:00", NOW_MS),
        ("2026-05-28T20:26:40", NOW_MS),
        ("0001-01-01T00:00:00", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("yesterday", None),
        (7, None),
        (None, None),
    ],
)
def test_instants_are_read_within_sense(value: Any, expected: int | None) -> None:
    """Without an offset it is UTC."""
    assert instant_ms(value) == expected
