"""What probes find without clients, on a real Kafka and Valkey: a sample of lab.detect's cases."""

from pathlib import Path

from lab.detect.cases import CASES
from lab.detect.run import detect

SAMPLE = (
    "connections are refused",
    "streams end without their last event",
    "503 for one model of two",
    "401: the key is refused",
    "429 to everything",
    "streams of another dialect",
)
PROBE_TIMEOUT_MS = 30_000  # so that no pool without a fault looks slow on a busy machine
WATCHED_S = 8.0  # longer than it takes to find any of the others, and than three rounds of probes


async def test_two_probers_find_what_they_can_and_accuse_nobody_else(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """A hard fault takes its pool down, a part that fails degrades it, a refused key is a fault of
    configuration; throttled probes and another dialect change nothing. The policy is that in force, as the
    probers have no file. How many seconds it takes is measured by ``script/bench detect``."""
    cases = [case._replace(replicas=1) for case in CASES if case.name in SAMPLE]
    assert len(cases) == len(SAMPLE)
    detections = await detect(
        cases,
        kafka=kafka_bootstrap,
        redis=redis_url,
        namespace=prefix,
        directory=tmp_path,
        watched_s=WATCHED_S,
        probe_timeout_ms=PROBE_TIMEOUT_MS,
    )
    for detection in detections:
        assert detection.is_as_stated, (detection.case.name, [pool.states for pool in detection.pools])
