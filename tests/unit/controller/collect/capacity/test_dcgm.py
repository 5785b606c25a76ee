"""A GPU takes its replica out only by its own word."""

from typing import Any

import pytest

from controller.collect.capacity.dcgm import Dcgm, GpuPool
from controller.collect.collector import UnreadableError
from tests.unit.controller.collect.capacity.stamps import FIVE, SIX, limits, stamp, stated

A, B = "http://10.0.0.1:9400/metrics", "http://10.0.0.2:9400/metrics"


def node(xids: tuple[float, ...] = (0,) * 8, remap: int = 0) -> bytes:
    """What the exporter of a node says, as its documentation shows it."""
    lines = ["# HELP DCGM_FI_DEV_XID_ERRORS Value of the last XID error encountered."]
    lines += ["# TYPE DCGM_FI_DEV_XID_ERRORS gauge"]
    for number, xid in enumerate(xids):
        labels = f'gpu="{number}",UUID="GPU-{number}",device="nvidia{number}",modelName="H100",Hostname="a"'
        lines.append(f"DCGM_FI_DEV_XID_ERRORS{{{labels}}} {xid}")
        lines.append(f"DCGM_FI_DEV_GPU_UTIL{{{labels}}} 97")
        lines.append(f"DCGM_FI_DEV_ROW_REMAP_FAILURE{{{labels}}} {remap if number == 0 else 0}")
    return ("\n".join(lines) + "\n").encode()


def gpus(**more: Any) -> Dcgm:
    """One pool on two nodes of eight GPUs."""
    entry = {"pool": FIVE, "nodes": (A, B), "units_per_s_per_replica": 100.0, **more}
    return Dcgm(name="fleet", pools=(GpuPool(**entry),))


@pytest.mark.parametrize(
    ("first", "per_replica", "expected"),
    [
        (node(), 1, 1_600.0),
        (node(), 8, 200.0),
        (node((79, *(0,) * 7)), 1, 1_500.0),
        (node((79, *(0,) * 7)), 8, 100.0),
        (node((79, *(0,) * 7)), 4, 300.0),
        (node((13, 31, 43, 45, 94, 0, 0, 0)), 1, 1_600.0),  # errors of programs, and contained ones
        (node(remap=1), 1, 1_500.0),
        (node((9223372036854775794,) * 8), 1, 1_600.0),  # a figure that it does not have
        (node((0,) * 3), 1, 1_600.0),  # GPUs that are missing in a scrape
        (b"", 1, 1_600.0),  # silence
    ],
)
def test_a_replica_needs_all_its_gpus(first: bytes, per_replica: int, expected: float) -> None:
    """A fatal error and a failed remap count; silence does not."""
    settings = gpus(gpus_per_replica=per_replica, concurrency_per_replica=10)
    findings = settings.read((first, node()), stamp())
    assert limits(findings) == {FIVE: expected}
    assert stated(findings)[FIVE].concurrency == expected / 10


def test_nothing_readable_states_nothing() -> None:
    """Neither does a pool all of whose nodes are silent."""
    for body in (b"", b"<html>\n", b"DCGM_FI_DEV_XID_ERRORS 79\n"):
        with pytest.raises(UnreadableError):
            gpus().read((body, body), stamp())
    pools = tuple(
        GpuPool(pool=pool, nodes=(url,), units_per_s_per_replica=1.0) for pool, url in ((FIVE, A), (SIX, B))
    )
    assert limits(Dcgm(name="fleet", pools=pools).read((b"", node()), stamp())) == {SIX: 8.0}


def test_which_errors_are_fatal_can_be_set() -> None:
    """For an installation that knows its GPUs."""
    settings = Dcgm(name="fleet", pools=gpus().pools, fatal_xids=(13,))
    assert limits(settings.read((node((13, 79, *(0,) * 6)), node()), stamp())) == {FIVE: 1_500.0}
