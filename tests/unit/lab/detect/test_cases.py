"""Every fault of the stand-ins is a case, in a place of its own, and the table says what was found of it."""

from pathlib import Path

import pytest
from msgspec.json import encode

from lab.detect.cases import CASES, PROCESS_FAULTS, Case
from lab.detect.run import Detection, PoolDetection
from lab.detect.table import BEGIN, END, table, write
from lab.detect.world import CONTROL, SHARED, placed, policy_of, standins
from lab.standins.faults import KINDS, parse_order

DOWN = Case("503 to everything", {"kind": "503"}, "down", replicas=2, is_hard_down=True)
SLOW = Case("slow", {"kind": "slow_first_token", "delay_ms": 9}, "healthy", "it is learnt from clients")


def test_every_kind_of_fault_is_tried() -> None:
    """So that a new one can't be forgotten; the orders are such that a stand-in takes them."""
    assert {case.kind for case in CASES} == {*KINDS, *PROCESS_FAULTS}
    for case in CASES:
        if not case.is_of_process:
            parse_order(encode({**case.order, "pools": ["a/b/c"]}), frozenset({"a/b/c"}))


def test_what_is_not_found_says_why() -> None:
    """And only that."""
    for case in CASES:
        assert bool(case.why_not) == (case.worst == "healthy"), case.name


def test_every_place_is_one_pool_of_a_stand_in() -> None:
    """Faults of a process have a stand-in of their own, the others one with a pool that has no fault."""
    places = placed(CASES)
    configs = {f"{config.provider}/{config.region}": config for config in standins(places, "log")}
    pools = [config.pool_id(pool) for config in configs.values() for pool in config.pools]
    assert len(set(pools)) == len(pools)
    assert {place.pool for place in places} == {pool for pool in pools if not pool.endswith(f"/{CONTROL}")}
    for place in places:
        count = len(configs[place.region].pools)
        assert (count == 1) == place.case.is_of_process
        assert place.region.endswith(f"/{SHARED}") != place.case.is_of_process


def test_the_policy_has_two_vantage_points() -> None:
    """One prober alone takes nothing down."""
    policy = policy_of("detect", {place.pool: "http://127.0.0.1:1/v1" for place in placed(CASES)})
    assert [source.kind for source in policy.sources] == ["probe", "probe"]


def detections() -> list[Detection]:
    places = placed((DOWN, SLOW))
    fell = (
        ((2.0, "degraded", "one_source_failing"), (3.25, "down", "probes_failing")),
        ((5.5, "down", "probes_failing"),),
    )
    return [
        Detection(DOWN, tuple(PoolDetection(place, s) for place, s in zip(places[:2], fell, strict=True))),
        Detection(SLOW, (PoolDetection(places[2], ()),)),
    ]


def test_the_table_says_who_found_what_and_when() -> None:
    """The middle and the longest time to the worst state; what is not found has its reason."""
    assert table(detections()).splitlines()[2:] == [
        "| 503 to everything | down (`probes_failing`) | two probers | 3.2 s | 5.5 s |",
        "| slow | not without clients: it is learnt from clients | - | - | - |",
    ]
    assert all(detection.is_as_stated for detection in detections())


def test_the_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    """All else of the page stays; a page without a place is left alone."""
    page = tmp_path / "probing.md"
    page.write_text(f"before\n{BEGIN}\nold\n\n{END}after\n")
    write(detections(), page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}")
    assert text.endswith(f"{END}after\n")
    assert "old" not in text
    page.write_text("no place")
    with pytest.raises(ValueError, match="has no line"):
        write(detections(), page)
    assert page.read_text() == "no place"
