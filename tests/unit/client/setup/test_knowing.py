"""What a client knows and keeps: tables examined, files, states, reports, names."""

import asyncio
import importlib
from pathlib import Path

import msgspec
import pytest

import tieline
import tieline.metrics
import tieline.testing
from tests.unit.client.made_tables import part, target
from tests.waiting import until
from tieline._health.ejection import Out
from tieline._http.flights import Flights
from tieline._reports.reporter import UrgentGate
from tieline._reports.window import SAMPLES_MAX, DemandWindow, Samples
from tieline._request.memory import Estimator
from tieline._routing.compile import Held
from tieline._routing.route import Outcome
from tieline._tables.checks import TableUpdate, examine
from tieline._tables.last_good import read_last_good, write_last_good
from tieline._tables.status import State, StateTracker
from tieline.events import ResultClass
from tieline.table import Generation, Manifest, TableError, checksum

RAW = msgspec.msgpack.encode(part({"a/r/x": 1_000_000}))
NAME = "chat/eu"


def manifest(
    seq: int, *, epoch: int = 1, lineage: str = "l", urgent_seq: int = 0, data: bytes = RAW
) -> bytes:
    """The manifest of a table with this one slice."""
    sums = {NAME: checksum(data)}
    return msgspec.msgpack.encode(Manifest(Generation(lineage, epoch, seq), 1, sums, urgent_seq))


def looked_at(data: bytes | None, held: Generation | None, raw: bytes | None = RAW) -> TableUpdate | None:
    """What the source would make of it."""
    return examine(data, {NAME: raw}, workload="chat", origins=["eu"], in_force=held)


def test_only_newer_tables_are_taken() -> None:
    """Newer within the lineage is taken; the same or older is not, whatever else it says."""
    held = Generation("l", 2, 7)
    assert looked_at(manifest(8, epoch=2), held) is not None
    assert looked_at(manifest(1, epoch=3), held) is not None
    assert looked_at(manifest(7, epoch=2), held) is None
    assert looked_at(manifest(99, epoch=1), held) is None


def test_urgency_is_relative_to_what_is_held() -> None:
    """A table is urgent for whoever holds one older than the last forced move."""
    found = looked_at(manifest(9, urgent_seq=8), Generation("l", 1, 7))
    later = looked_at(manifest(9, urgent_seq=8), Generation("l", 1, 8))
    first = looked_at(manifest(9, urgent_seq=8), None)
    assert found is not None
    assert found.table.urgent
    assert later is not None
    assert not later.table.urgent
    assert first is not None
    assert not first.table.urgent


@pytest.mark.parametrize(
    ("data", "raw", "said"),
    [
        (None, RAW, "no route table"),
        (b"\xc1", RAW, "not a manifest"),
        (manifest(9, lineage="other"), RAW, "LINEAGE"),
        (manifest(9), None, "missing"),
        (manifest(9), RAW + b"\x00", "checksum"),
        (manifest(9, data=b"x"), b"x", "not a slice"),
    ],
)
def test_what_must_not_be_used_is_refused(data: bytes | None, raw: bytes | None, said: str) -> None:
    """Absent, damaged, partial or of another lineage: the table held stays, and the error says why."""
    with pytest.raises(TableError, match=said):
        looked_at(data, Generation("l", 1, 7), raw)


def test_an_unknown_route_is_named() -> None:
    """A client of a route that the table does not have learns which there are."""
    with pytest.raises(TableError, match="chat/jp; it has chat/eu"):
        examine(manifest(1), {}, workload="chat", origins=["jp"], in_force=None)


def test_last_good_comes_back_as_written(tmp_path: Path) -> None:
    """What was written is read again; nothing else is left beside it."""
    path = tmp_path / "deep" / "routes.bin"
    write_last_good(path, Generation("l", 1, 4), {"eu": RAW})
    found = read_last_good(path, "chat", ["eu"])
    assert found == Held(Generation("l", 1, 4), {"eu": part({"a/r/x": 1_000_000})})
    assert [one.name for one in path.parent.iterdir()] == ["routes.bin"]
    assert read_last_good(tmp_path / "absent", "chat", ["eu"]) is None


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A file cut short, altered by one bit, or of something else is never used."""
    path = tmp_path / "routes.bin"
    write_last_good(path, Generation("l", 1, 4), {"eu": RAW})
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], b"", b"something else"):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match="damaged"):
            read_last_good(path, "chat", ["eu"])


@pytest.mark.parametrize(("workload", "origin"), [("api", "eu"), ("chat", "jp")])
async def test_a_file_of_another_route_is_never_gone_by(tmp_path: Path, workload: str, origin: str) -> None:
    """Neither as the source nor as the last good table: what one workload or origin may use need not be
    lawful for another. The error names what there is."""
    path, absent = tmp_path / "routes.bin", tmp_path / "absent"
    await asyncio.to_thread(write_last_good, path, Generation("l", 1, 4), {"eu": RAW})
    async with tieline.AsyncClient(path, workload=workload, origin=origin) as client:
        await until(lambda: client.status.error != "", 10, "the file is looked at")
        found = client.pick("chat-large")
        assert isinstance(found, tieline.Shed)
        assert found.text.endswith(f"routes.bin: has no route {workload}/{origin}; it has chat/eu")
    async with tieline.AsyncClient(absent, workload=workload, origin=origin, last_good=path) as client:
        assert isinstance(client.pick("chat-large"), tieline.Shed)


def test_states_follow_the_contact() -> None:
    """initializing or last_good until heard, live while heard within the limit, stale after it, off at the
    end."""
    tracker = StateTracker(0)

    def state(now_ms: int, *, has_table: bool = True) -> State:
        return tracker.state(now_ms, has_table=has_table, stale_after_ms=10_000)[0]

    assert state(0) is State.OFF
    tracker.started(1)
    assert state(1, has_table=False) is State.INITIALIZING
    assert state(1) is State.LAST_GOOD
    tracker.heard(5)
    assert state(10_004) is State.LIVE
    assert state(10_005) is State.STALE
    assert tracker.state(10_105, has_table=True, stale_after_ms=10_000) == (State.STALE, 100)
    tracker.stopped(20_000)
    assert state(20_000) is State.OFF


def test_reports_hold_what_happened() -> None:
    """Flows by origin, pools with counts, units, quantiles, what is in flight and why a pool was left."""
    window, flights = DemandWindow(), Flights()
    window.offered("eu", 120.0)
    window.shed("eu", 20.0)
    flights.begin("a/r/x", 400)
    for first_ms in range(1, 101):
        window.observe(target("a/r/x"), Outcome(ResultClass.OK, 2.0, float(first_ms), 5.0))
    window.observe(target("b/r/x"), Outcome(ResultClass.TIMEOUT))
    outs = {"c/r/x": Out(ResultClass.AUTH, 0, 9_000)}
    flows, pools = window.take("chat", {"eu": (101, 1)}, outs, flights, 1_000)
    assert [(f.requests, f.offered_units, f.shed_requests, f.shed_units) for f in flows] == [
        (101, 120, 1, 20)
    ]
    served, failing, left = pools
    assert (served.outcomes.ok, served.units, served.in_flight, served.oldest_in_flight_ms) == (
        100,
        200,
        1,
        600,
    )
    assert (served.first_token_p50_ms, served.first_token_p99_ms, served.per_token_p50_ms) == (50, 99, 5)
    assert failing.outcomes.timeout == 1
    assert (left.pool, left.ejected) == ("c/r/x", ResultClass.AUTH)
    assert window.take("chat", {}, {}, Flights(), 2_000) == ((), ())


def test_samples_are_bounded() -> None:
    """However many values, few are kept, and the quantiles stay close."""
    samples = Samples()
    for value in range(100_000):
        samples.add(float(value))
    assert len(samples._values) <= SAMPLES_MAX
    assert samples.quantile(0.5) == pytest.approx(50_000, rel=0.02)
    assert samples.quantile(0.99) == pytest.approx(99_000, rel=0.02)


def test_urgent_reports_are_rare() -> None:
    """At most one a second for each pool."""
    gate = UrgentGate()
    assert gate.passes("a/r/x", 1_000)
    assert not gate.passes("a/r/x", 1_999)
    assert gate.passes("b/r/x", 1_999)
    assert gate.passes("a/r/x", 2_000)


def test_a_stall_calls_back_what_waits() -> None:
    """Oldest first; what has begun to arrive is left alone, and no other class calls anything back."""
    flights, called = Flights(), list[int]()
    for number in range(3):
        flight = flights.begin("a/r/x", number)
        if number != 1:
            flight.abandon = lambda number=number: called.append(number)
    assert flights.stalled("a/r/x", ResultClass.SERVER_ERROR) == 0
    assert flights.stalled("a/r/x", ResultClass.TIMEOUT) == 2
    assert called == [0, 2]


def test_a_full_pool_is_known() -> None:
    """With its maximum on their way a pool is full until one of them ends."""
    flights = Flights(pool_max=2)
    first = flights.begin("a/r/x", 1)
    assert flights.full == set()
    flights.begin("a/r/x", 2)
    assert flights.full == {"a/r/x"}
    flights.end(first)
    assert flights.full == set()


def test_units_are_learnt() -> None:
    """The estimate comes close to what answers say they took, and never exceeds the caller's own limit."""
    estimator = Estimator()
    for _ in range(300):
        estimator.learn(4_000, 500, 40)
    assert estimator.expect(4_000, None) == pytest.approx(540, rel=0.02)
    assert estimator.expect(4_000, 10) == pytest.approx(510, rel=0.02)


def test_public_names() -> None:
    """Sorted, importable, and exactly these."""
    assert tieline.__all__ == sorted(tieline.__all__)
    assert set(tieline.__all__) == {
        *("Applied", "AsyncClient", "Client", "ClosedError", "ConfigurationError", "MissingExtraError"),
        *("Brokers", "EntraToken", "GoogleToken"),
        *("Needs", "Outcome", "Producer", "Reason", "ResultClass", "Route", "Shed", "State", "Status"),
        *("TielineError", "Timeouts", "Token", "offline", "options"),
        *("Delivery", "InvalidEventError", "KafkaUnavailableError", "MissingCredentialError"),
        *("MissingTopicError", "ProducerClosedError", "ProducerError", "ProducerStatus", "RefusedError"),
        "TooLargeError",
    }
    module = importlib.import_module("tieline")
    assert all(getattr(module, name) is not None for name in tieline.__all__)
    assert tieline.testing.__all__ == ["FakePools", "Fault", "Request"]
    assert tieline.metrics.__all__ == ["opentelemetry", "prometheus"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "localhost:6379"},
        {"source": "kafka://localhost:9092"},
        {"source": None},
        {"source": "https://"},
        {"source": "https://user:secret@controller"},
        {"workload": "a b"},
        {"origin": ""},
    ],
)
def test_settings_that_cant_work_are_said_at_once(wrong: dict[str, str | None]) -> None:
    """One clear sentence naming the setting, before anything is started."""
    settings = {"source": "redis://127.0.0.1:1", "workload": "chat", "origin": "eu", **wrong}
    with pytest.raises(tieline.ConfigurationError, match=next(iter(wrong))) as caught:
        tieline.AsyncClient(settings.pop("source"), **settings)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_a_pool_is_reported_as_left_only_while_it_is_kept_away_from() -> None:
    """Without weight no request would ever show that it is well again: the report must not hold it down."""
    out = {"c/r/x": Out(ResultClass.AUTH, 0, 300_000)}
    _, (before,) = DemandWindow().take("chat", {}, out, Flights(), 299_999)
    _, (after,) = DemandWindow().take("chat", {}, out, Flights(), 300_000)
    assert (before.ejected, after.ejected) == (ResultClass.AUTH, None)
