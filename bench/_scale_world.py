"""What `scale` takes events in from: 80 regions of 50 pools, five probers of each, and 400 clients."""

import time
from collections.abc import Iterator

import msgspec

from controller.core.policy.policy import Origin, Policy, Pool, Provider, Source, Workload
from tieline.events import Demand, Flow, Outcomes, PoolObservation, Report
from tieline.table import ModelOffer

PROVIDERS = ("azure", "coreweave", "gcp", "oci")
REGIONS_EACH = 20
POOLS_EACH = 50
PROBERS = 5
CLIENTS = 400
USED = 8
REPORT_INTERVAL_MS = 60_000  # long, so that a backlog of some seconds is fresh
MODEL = ModelOffer("chat-large", "gpt-4o")


def regions() -> list[str]:
    """``provider/region`` of all, sorted."""
    return [f"{provider}/r{number}" for provider in PROVIDERS for number in range(REGIONS_EACH)]


def policy_as_yaml() -> str:
    """The policy of the workers that take events in. JSON is YAML."""
    pools = tuple(
        Pool(f"{region}/p{number}", "us", "http://127.0.0.1:9/v1", (MODEL,), 10_000.0, 10_000.0)
        for region in regions()
        for number in range(POOLS_EACH)
    )
    policy = Policy(
        lineage="scale",
        geographies=("us",),
        origins=(Origin("us"),),
        providers=tuple(Provider(name) for name in PROVIDERS),
        pools=pools,
        workloads=(Workload("chat", "critical", (MODEL.model,), expected_units_per_s={"us": 100_000.0}),),
        sources=tuple(Source(f"prober{number}", "probe") for number in range(PROBERS)),
    )
    return msgspec.json.encode(policy).decode()


def reports(rounds: int) -> Iterator[Report]:
    """``rounds`` reports of every prober on every region, a round after the other."""
    end_ms = time.time_ns() // 1_000_000
    outcomes = Outcomes(ok=1_000)
    for sequence in range(1, rounds + 1):
        for place in regions():
            provider, region = place.split("/")
            seen = tuple(
                PoolObservation(f"{place}/p{number}", outcomes, 5e4, 180.0, 900.0, 21.0, 7, 1_500)
                for number in range(POOLS_EACH)
            )
            for prober in range(PROBERS):
                yield Report(
                    source=f"prober{prober}",
                    provider=provider,
                    region=region,
                    incarnation="scale",
                    sequence=sequence,
                    window_start_ms=end_ms - 1_000,
                    window_end_ms=end_ms,
                    interval_ms=REPORT_INTERVAL_MS,
                    pools=seen,
                )


def demand(rounds: int) -> Iterator[Demand]:
    """``rounds`` reports of each of 400 clients, each of one flow and the eight pools that it used."""
    end_ms = time.time_ns() // 1_000_000
    places = regions()
    for sequence in range(1, rounds + 1):
        for client in range(CLIENTS):
            used = (f"{places[(client + part) % len(places)]}/p{client % POOLS_EACH}" for part in range(USED))
            yield Demand(
                client=f"gateway-{client}",
                incarnation="scale",
                sequence=sequence,
                window_start_ms=end_ms - 1_000,
                window_end_ms=end_ms,
                interval_ms=REPORT_INTERVAL_MS,
                generation="scale:1:1",
                flows=(Flow("chat", "us", requests=80, offered_units=800.0),),
                pools=tuple(PoolObservation(pool, Outcomes(ok=10), 100.0, 180.0, 900.0) for pool in used),
            )
