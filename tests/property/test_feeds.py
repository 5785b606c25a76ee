"""Whatever is wrong with a feed, it leads to no invalid event and to no outage that the feed did not name.

A run tries a fixed sample; `FEEDS=whole .venv/bin/pytest tests/property/test_feeds.py -s` tries 10,000 feeds.
"""

from __future__ import annotations

import os
import random

import pytest

from controller.collect.collector import Findings, UnreadableError
from tests.unit.controller.collect.feeds.mutating import evidence, mutated
from tests.unit.controller.collect.feeds.shapes import SHAPES, Shape, stamp, truth_of
from tests.unit.controller.collect.feeds.truths import NOW_MS, Truth
from tieline.cloudevents import decode, encode
from tieline.events import Statement

FEEDS = 2_000 if os.environ.get("FEEDS") == "whole" else 100  # of each of the five shapes
STILL_TOLD_SHARE = 0.95


def claims(findings: Findings) -> set[tuple[str, str]]:
    """(region, state) of every claim about health."""
    return {
        (event.region, claim.state)
        for event in findings.events
        if isinstance(event, Statement) and event.kind == "status"
        for claim in event.claims
    }


def read(shape: Shape, body: bytes) -> Findings:
    """What the collector reads; nothing for a body that it can't read."""
    try:
        return shape.feed.read((body,), stamp(shape))
    except UnreadableError:
        return Findings(())


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_mutated_feed_tells_no_lie(name: str) -> None:
    """Every event passes the contract and no region is down that was not. If what says ill is intact, at
    least 95 % still say it; and a feed with an unread part takes nothing back."""
    shape = SHAPES[name]
    intact = told = unreadable = 0
    for seed in range(FEEDS):
        rng = random.Random(f"{name} {seed}")
        truth = truth_of(shape, rng)
        body = shape.write(truth, rng)
        before, damaged = claims(read(shape, body)), mutated(shape, body, rng)
        findings = read(shape, damaged)
        unreadable += not findings.events
        for event in findings.events:
            encoded = encode(event, time_ms=NOW_MS)
            assert decode(encoded.headers, encoded.value, encoded.key) == event, seed
        down = {claim for claim in claims(findings) if claim[1] == "down"}
        assert down <= before, f"seed {seed}: {down - before} were not down"
        if findings.unread:
            assert all(event.claims for event in findings.events if isinstance(event, Statement)), seed
        if evidence(shape, body) <= evidence(shape, damaged):
            intact += 1
            told += before <= claims(findings)
    print(
        f"{name}: {FEEDS} feeds, {unreadable} unreadable, {intact} intact, {told / intact:.2%} of them told"
    )
    assert told >= STILL_TOLD_SHARE * intact
    assert intact >= FEEDS / 4


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_feed_says_what_is_true(name: str) -> None:
    """Each region that is ill gets its claim, and every other region an empty statement."""
    shape = SHAPES[name]
    for seed in range(FEEDS):
        rng = random.Random(f"{name} {seed} whole")
        truth = truth_of(shape, rng)
        findings = shape.feed.read((shape.write(truth, rng),), stamp(shape))
        ill = truth.ill[0]
        everywhere = set(shape.places.values())
        regions = everywhere if "global" in ill.regions else {shape.places[region] for region in ill.regions}
        state = "down" if ill.severity == "outage" else "degraded"
        assert claims(findings) == {(region, state) for region in regions}, seed
        assert {event.region for event in findings.events if isinstance(event, Statement)} == everywhere
        assert findings.unread == 0


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_feed_without_incidents_takes_everything_back(name: str) -> None:
    """Every region of the settings gets statements without claims."""
    shape = SHAPES[name]
    findings = shape.feed.read((shape.write(Truth(), random.Random(name)),), stamp(shape))
    statements = [event for event in findings.events if isinstance(event, Statement)]
    assert {event.region for event in statements} == set(shape.places.values())
    assert not any(event.claims for event in statements)
