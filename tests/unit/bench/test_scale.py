"""What the benchmark of large installations draws, and the tables that it publishes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from bench._frame import Case
from bench._plan_world import Size
from bench._plot import picture, values_of
from bench._scale_plot import SIZES, graphs
from bench._scale_tables import next_table, settled, table_cases
from tieline.table import check

SMALL = Size(8, 2, 2)


def lines() -> str:
    """What a run prints, of which the last line counts."""
    cases = [
        Case(f"ingest, {number} worker{'s' if number > 1 else ''}{words}", unit, [value])
        for number in (1, 2, 4)
        for words, unit, value in (("", "records/s", 3_000.0 * number), (", processor", "us/record", 250.0))
    ]
    for count in (100, 300, 1_000):
        cases.append(Case(f"told, {count} clients, {SIZES[0][0]}", "ms", [100.0, 200.0]))
        cases.append(Case(f"idle, {count} clients, {SIZES[0][0]}", "KiB/s", [count / 10]))
    for size, _ in SIZES:
        cases.append(Case(f"record (table, policy, memory), {size}", "KiB", [2_048.0]))
        cases.append(Case(f"record in Kafka, {size}", "KiB", [1_024.0]))
    return "a table\n" + json.dumps({"bench": "scale", "cases": [case.as_json() for case in cases]}) + "\n"


def test_the_plot_shows_what_was_measured() -> None:
    """Each graph has a point for each measured case, and the whole is an image that browsers read."""
    drawn = graphs(values_of(lines()))
    assert drawn[0].lines[0].points == [(1, 3_000.0), (2, 6_000.0), (4, 12_000.0)]
    assert drawn[0].lines[1].points == [(1, 4_000.0), (2, 4_000.0), (4, 4_000.0)]
    assert drawn[1].lines[0].points == [(100, 200.0), (300, 200.0), (1_000, 200.0)]
    assert drawn[3].lines[1].points == [(4, 1.0), (20, 1.0), (200, 1.0)]
    image = ElementTree.fromstring(picture(drawn))
    assert len(image.findall(".//{*}circle")) == sum(
        len(line.points) for graph in drawn for line in graph.lines
    )


def test_a_case_that_is_missing_is_an_error() -> None:
    """No graph is drawn of half a measurement."""
    with pytest.raises(KeyError):
        graphs(values_of('{"bench": "scale", "cases": []}'))


def test_each_publication_changes_every_route() -> None:
    """Clients are told of a lawful table that is newer, and none of its routes is as before."""
    before = settled(SMALL).table
    assert before is not None
    after = next_table(before)
    check(after)
    assert after.generation.newer_than(before.generation)
    assert all(new.split != old.split for new, old in zip(after.routes, before.routes, strict=True))


def test_sizes_are_those_of_a_real_publication() -> None:
    """A record in Kafka holds table, policy and memory, so it is larger than its table."""
    cases = {case.name.partition(", 8 pools")[0]: case for case in table_cases(SMALL, settled(SMALL))}
    table, record = cases["table"].samples[0], cases["record in Kafka"].samples[0]
    assert 0 < table < record
