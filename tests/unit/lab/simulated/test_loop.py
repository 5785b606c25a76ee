"""The loop in virtual time: it jumps, stops and kills processes, and orders nothing by chance."""

import asyncio
import time

import pytest

from lab.simulated.clocks import START_MS, simulated
from lab.simulated.loop import CURRENT, DeadlockError, Life, Process, VirtualLoop, passes

HOUR_S = 3_600.0


def test_an_hour_of_waiting_takes_no_time() -> None:
    """The clock jumps to the next timer when nothing is ready."""
    loop = VirtualLoop()
    loop.run_until_complete(asyncio.wait_for(passes(HOUR_S), 2 * HOUR_S))
    assert loop.time() == pytest.approx(HOUR_S)
    loop.bury()


def test_timers_of_one_moment_run_in_the_order_in_which_they_were_set() -> None:
    """Also after many others were cancelled, which then take no more room."""
    loop = VirtualLoop()
    ran: list[int] = []
    others = [loop.call_at(1, ran.append, -1) for _ in range(1_000)]
    for number in range(100):
        loop.call_at(2, ran.append, number)
    for timer in others:
        timer.cancel()
    assert len(loop._scheduled) < 500
    loop.run_until_complete(passes(3))
    assert ran == list(range(100))
    loop.bury()


def test_what_happens_at_a_time_belongs_to_no_process() -> None:
    """It takes its turn among timers, also where a process sets it that is dead by then."""
    loop = VirtualLoop()
    ran: list[tuple[str, str]] = []

    def note(name: str) -> None:
        process = CURRENT.get()
        ran.append((name, process.name if process is not None else "nobody"))

    async def main() -> None:
        loop.call_at(2, note, "timer of the process")
        loop.at(2, lambda: note("message"))

    async def world() -> None:
        process = Process(loop, "a")
        loop.call_at(2, note, "timer before")
        process.start(main)
        await passes(1)
        process.kill()
        loop.call_at(2, note, "timer after")
        await passes(2)

    loop.run_until_complete(world())
    assert ran == [(name, "nobody") for name in ("timer before", "message", "timer after")]
    loop.bury()


def test_a_callback_that_fails_is_noted_and_the_others_run() -> None:
    """As asyncio does with errors that nobody awaits."""
    loop = VirtualLoop()
    ran: list[int] = []
    loop.call_soon(divmod, 1, 0)
    loop.call_soon(ran.append, 1)
    loop.run_until_complete(passes(1))
    assert ran == [1]
    assert [repr(error["exception"])[:17] for error in loop.errors] == ["ZeroDivisionError"]
    loop.bury()


def test_waiting_for_nothing_is_an_error() -> None:
    """Where no timer is set nothing can ever happen."""
    loop = VirtualLoop()
    with pytest.raises(DeadlockError, match="no timer is set"):
        loop.run_until_complete(loop.create_future())
    loop.bury()


def test_a_stopped_process_does_later_what_was_due_meanwhile() -> None:
    """In its order; others go on."""
    loop, steps = VirtualLoop(), []

    async def main(name: str) -> None:
        for second in range(3):
            await passes(1)
            steps.append((name, second, round(loop.time())))

    processes = [Process(loop, name) for name in ("a", "b")]

    async def world() -> None:
        for process in processes:
            process.start(lambda name=process.name: main(name))  # type: ignore[misc]
        await passes(1.5)
        processes[0].stop()
        await passes(5)
        processes[0].resume()
        await passes(5)

    loop.run_until_complete(world())
    assert [step for step in steps if step[0] == "a"] == [("a", 0, 1), ("a", 1, 6), ("a", 2, 8)]
    assert [step for step in steps if step[0] == "b"] == [("b", 0, 1), ("b", 1, 2), ("b", 2, 3)]
    assert [process.ended for process in processes] == [[None], [None]]
    loop.bury()


def test_a_killed_process_runs_no_finally() -> None:
    """As with SIGKILL; and it is over, whatever it had begun."""
    loop, ran = VirtualLoop(), []

    async def main() -> None:
        try:
            await asyncio.gather(passes(5), passes(6))
        finally:
            ran.append("finally")

    async def world() -> None:
        process = Process(loop, "a")
        process.start(main)
        await passes(1)
        process.kill()
        await asyncio.wait_for(process.over.wait(), 1)
        await passes(20)
        assert process.life is Life.DEAD
        assert not process.ended

    loop.run_until_complete(world())
    assert ran == []
    loop.bury()


def test_a_process_that_fails_is_over_with_its_error() -> None:
    """A supervisor sees why."""
    loop = VirtualLoop()

    async def main() -> None:
        raise ValueError("no")

    async def world() -> None:
        process = Process(loop, "a")
        process.start(main)
        await process.over.wait()
        assert [repr(error) for error in process.ended] == ["ValueError('no')"]

    loop.run_until_complete(world())
    loop.bury()


def test_every_process_reads_its_own_wall_clock() -> None:
    """The steady clock is the same for all, and real time is back afterwards."""
    loop = VirtualLoop()
    readings: dict[str, tuple[int, float]] = {}
    before_ns = time.time_ns()

    async def main(name: str) -> None:
        await passes(10)
        readings[name] = (time.time_ns() // 1_000_000, time.monotonic())

    async def world() -> None:
        for name, ahead_ms in (("right", 0), ("fast", 60_000)):
            process = Process(loop, name)
            process.clock_ahead_ms = ahead_ms
            process.start(lambda name=name: main(name))  # type: ignore[misc]
        await passes(11)

    with simulated(loop, "seed"):
        loop.run_until_complete(world())
    assert {name: wall_ms - START_MS for name, (wall_ms, _) in readings.items()} == {
        "right": 10_000,
        "fast": 70_000,
    }
    assert [steady_s for _, steady_s in readings.values()] == pytest.approx([10.0, 10.0])
    assert time.time_ns() >= before_ns
    loop.bury()


def test_work_for_threads_is_done_in_place() -> None:
    """So that no run depends on when a thread is scheduled."""
    loop = VirtualLoop()
    assert loop.run_until_complete(asyncio.wait_for(asyncio.to_thread(sum, (1, 2)), 1)) == 3
    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(asyncio.wait_for(asyncio.to_thread(divmod, 1, 0), 1))
    loop.bury()
