"""What `react` is measured in: a policy of 402 pools, its measured events, its background.

20 regions of 19 pools each over four providers, three origins, two workloads over all of them; and the
measured workload on two pools of one region, whose limits change places with every event: all its load has to
leave one pool for the other, a forced move in one step.
"""

from collections.abc import Iterator

import msgspec

from controller.core.policy.policy import Origin, Policy, Pool, Provider, Source, Workload
from tieline.events import Capacity, Outcomes, PoolCapacity, PoolObservation, Report
from tieline.table import ModelOffer

PROVIDERS = ("azure", "coreweave", "gcp", "oci")
REGIONS_EACH = 5
POOLS_EACH = 19
PROBERS = 5
BACKGROUND_INTERVAL_MS = 100  # 20 regions x 5 probers x 10/s = 1,000 records/s
MODEL = "chat-large"
REGION = "azure/measured"
EAST, WEST = f"{REGION}/east", f"{REGION}/west"
WIDE_UNITS_PER_S, NARROW_UNITS_PER_S, LOAD_UNITS_PER_S = 20_000.0, 100.0, 10_000.0
WORKLOAD, ORIGIN = "measured", "us"
CAPACITY_SOURCE = "fleet"


def regions() -> list[str]:
    """``provider/region`` of the background, sorted."""
    return [f"{provider}/r{number}" for provider in PROVIDERS for number in range(REGIONS_EACH)]


def policy() -> Policy:
    """The whole policy."""
    background = [f"{region}/p{number}" for region in regions() for number in range(POOLS_EACH)]
    pools = [_pool(name, 10_000.0) for name in background] + [
        _pool(name, WIDE_UNITS_PER_S) for name in (EAST, WEST)
    ]
    units = {"us": 100_000.0, "eu": 100_000.0, "jp": 50_000.0}
    return Policy(
        lineage="react",
        geographies=("us",),
        origins=tuple(Origin(name) for name in ("us", "eu", "jp")),
        providers=tuple(Provider(name) for name in PROVIDERS),
        pools=tuple(pools),
        workloads=(
            Workload(
                WORKLOAD,
                "critical",
                (MODEL,),
                (ORIGIN,),
                pinned_pools=(EAST, WEST),
                expected_units_per_s={ORIGIN: LOAD_UNITS_PER_S},
            ),
            *(
                Workload(
                    name, "critical", (MODEL,), pinned_pools=tuple(background), expected_units_per_s=units
                )
                for name in ("chat", "batch")
            ),
        ),
        sources=(
            Source(CAPACITY_SOURCE, "fleet", scope=REGION),
            *(Source(f"prober{number}", "probe") for number in range(PROBERS)),
        ),
    )


def _pool(name: str, limit: float) -> Pool:
    return Pool(
        name,
        "us",
        "http://127.0.0.1:9/v1",
        (ModelOffer(MODEL, MODEL),),
        limit,
        limit,
    )


def policy_as_yaml() -> str:
    """JSON is YAML."""
    return msgspec.json.encode(policy()).decode()


def measured_event(number: int, now_ms: int) -> Capacity:
    """The pools' limits, exchanged with every number."""
    limits = (WIDE_UNITS_PER_S, NARROW_UNITS_PER_S)
    east, west = limits if number % 2 else limits[::-1]
    provider, region = REGION.split("/")
    return Capacity(
        CAPACITY_SOURCE,
        provider,
        region,
        "react",
        number,
        now_ms,
        now_ms + 600_000,
        (PoolCapacity(EAST, east), PoolCapacity(WEST, west)),
    )


def background_events(sequence: int, now_ms: int) -> Iterator[Report]:
    """One window of every prober in every region: all is well, as it was in the window before."""
    for place in regions():
        provider, region = place.split("/")
        seen = tuple(
            PoolObservation(f"{place}/p{number}", Outcomes(ok=20), 2_000.0, 100.0, 200.0)
            for number in range(POOLS_EACH)
        )
        for prober in range(PROBERS):
            yield Report(
                f"prober{prober}",
                provider,
                region,
                "react",
                sequence,
                now_ms - BACKGROUND_INTERVAL_MS,
                now_ms,
                BACKGROUND_INTERVAL_MS,
                seen,
            )
