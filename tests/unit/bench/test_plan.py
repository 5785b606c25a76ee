"""The benchmark of decisions: its solves are whole requests, and its plot shows what was measured."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from bench import plan
from bench._frame import Case
from bench._plan_dispatch import COLD_SOLVES, HOURS, dispatch_cases
from bench._plan_plot import GRAPHS, POOLS, dispatch_graphs, reflex_graphs
from bench._plan_world import Size
from bench._plot import picture, values_of


def lines() -> str:
    """What a run prints, of which the last line counts: half a millisecond and 10 kB for each pool."""
    cases = [
        Case(f"dispatch {pools} pools{words}, processor", "ms", [pools / 2])
        for pools in POOLS
        for words in ("", ", from merit order")
    ]
    cases += [
        Case(f"{kind} {pools} pools, processor", "ms", [pools / 200])
        for pools in POOLS
        for kind in ("reflex", "first table")
    ]
    cases += [Case(f"memory of dispatch {pools} pools", "MB", [pools / 100]) for pools in POOLS]
    return "a table\n" + json.dumps({"bench": "plan", "cases": [case.as_json() for case in cases]}) + "\n"


def test_the_plot_shows_what_was_measured() -> None:
    """Each graph has a point for each size, and the whole is an image that browsers read."""
    values = values_of(lines())
    reflex, first = reflex_graphs(values)
    time, memory = dispatch_graphs(values)
    assert reflex.lines[0].points[-1] == first.lines[0].points[-1] == pytest.approx((4_000, 20))
    assert time.lines[0].points[-1] == pytest.approx((4_000, 2_000))
    assert memory.lines[0].points[-1] == pytest.approx((4_000, 40))
    image = ElementTree.fromstring(picture([reflex, first, time, memory]))
    assert len(image.findall(".//{*}circle")) == 6 * len(POOLS)


def test_a_case_that_is_missing_is_an_error() -> None:
    """No graph is drawn of half a measurement."""
    for graphs in GRAPHS.values():
        with pytest.raises(KeyError):
            graphs(values_of('{"bench": "plan", "cases": []}'))


def test_the_plot_has_a_point_for_each_size_that_is_measured() -> None:
    """Whoever adds a size to the benchmark adds it to the plot."""
    assert tuple(size.pools for size in plan.SIZES.values()) == POOLS


def test_every_hour_is_solved_from_the_plan_of_the_hour_before() -> None:
    """A small installation: one sample for each hour, and a few from a table that no solver has touched."""
    cases = {case.name: case for case in dispatch_cases("8 pools", Size(8, 2, 2), {"p50": 1e6})}
    assert len(cases["dispatch 8 pools"].samples) == HOURS
    assert len(cases["dispatch 8 pools, from merit order, processor"].samples) == COLD_SOLVES
    assert cases["dispatch 8 pools"].met
