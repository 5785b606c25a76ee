"""The clocks of controllers and of Kafka are set while they run, by a shim that they have loaded.

Evidence carries the brokers' time. A controller whose clock is wrong holds the table and says that it is not
fit; one whose clock is right leads. Where the broker's clock is wrong every controller disagrees with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controller.process.clock import now_ms
from lab.chaos.fault import ChaosFault, Promise, Scene
from lab.chaos.process_faults import ANSWERED
from lab.chaos.world import CONTROLLERS

STEP_MS = 3_600_000
LASTS_S = 8.0
WITHIN_S = 60.0
TOLD = Promise("controller says that its clock is wrong", 10.0)


def _says_clock(scene: Scene, name: str) -> bool:
    """Whether the controller has said since the fault began that its clock is wrong."""
    lines = scene.world.logs[name].read()
    return any(
        line["event"] == "this controller is not fit to lead" and "clock" in str(line.get("why"))
        for line in lines[scene.log_marks[name] :]
    )


def _controller_steps(which: str, step_ms: int) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        leader = scene.leader()
        name = leader if which == "leader" else scene.world.other(leader)
        clock = scene.world.clocks[name]
        clock.set_ahead(step_ms)
        try:
            took_s = await scene.until(lambda: _says_clock(scene, name), WITHIN_S, "a word on the clock")
            scene.measure(TOLD.what, took_s)
            at = scene.world.logs[name].read()[-1]["timestamp"]
            scene.prove(f"the clock of {name}, the {which}, was set by {step_ms / 1000:g} s: it logs at {at}")
            scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))
            await scene.last(LASTS_S)
        finally:
            clock.set_ahead(0)

    return act


def _broker_steps(step_ms: int) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        clock = scene.world.clocks["kafka"]
        clock.set_ahead(step_ms)
        try:
            count = len(scene.new_publications())
            await scene.last(LASTS_S)
            await scene.until(
                lambda: all(_says_clock(scene, name) for name in CONTROLLERS), WITHIN_S, "a word on the clock"
            )
        finally:
            clock.set_ahead(0)
        appended = scene.new_publications()[count:]
        apart_ms = [item.append_ms - now_ms() for item in appended[-1:]]
        scene.prove(
            f"Kafka's clock was set by {step_ms / 1000:g} s for {LASTS_S:g} s; both controllers say so"
            + (f", and a record was appended {apart_ms[0] / 1000:.0f} s off" if apart_ms else "")
        )
        scene.measure(ANSWERED.what, await scene.order_takes(2 * WITHIN_S))

    return act


FAULTS = (
    ChaosFault(
        "leader-clock-ahead",
        "the leader's clock is set an hour ahead, and right again",
        _controller_steps("leader", STEP_MS),
        promises=(TOLD, ANSWERED),
        calm_within_s=150,
        clocks=True,
    ),
    ChaosFault(
        "leader-clock-behind",
        "the leader's clock is set an hour back, and right again",
        _controller_steps("leader", -STEP_MS),
        promises=(TOLD, ANSWERED),
        calm_within_s=150,
        clocks=True,
    ),
    ChaosFault(
        "standby-clock-ahead",
        "the standby's clock is set an hour ahead, and right again",
        _controller_steps("standby", STEP_MS),
        promises=(TOLD, ANSWERED),
        calm_within_s=150,
        clocks=True,
    ),
    ChaosFault(
        "broker-clock-ahead",
        "Kafka's clock is set 30 s ahead, and right again",
        _broker_steps(30_000),
        promises=(Promise(ANSWERED.what, 60.0),),
        calm_within_s=180,
        clocks=True,
    ),
    ChaosFault(
        "broker-clock-behind",
        "Kafka's clock is set 30 s back, and right again",
        _broker_steps(-30_000),
        promises=(Promise(ANSWERED.what, 60.0),),
        calm_within_s=180,
        clocks=True,
    ),
)
