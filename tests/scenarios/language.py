"""Scenario files: one command a line, what it prints below it behind `|`. Anything after `#` is a comment.

policy NAME                             policies/NAME.yaml; a world begins
demand chat/eu 600                      clients ask for this much, units/s
report SCOPE errors=30% [as=timeout]    clients and probers meet this share of errors (0%: none)
clients SCOPE errors=100%               only clients meet it
probes SCOPE errors=100%                only probers meet it
part SCOPE / entirely SCOPE             probers meet it in one of two probes / in all of them
hang SCOPE / answer SCOPE               requests go in and none comes out / they do again
serves SCOPE 300 / serves SCOPE all     what it can really give; beyond it 429
capacity SCOPE 500 / capacity SCOPE none    what the fleet source states
silence SOURCE / hear SOURCE            a source of the policy, or `clients`
unprobed SCOPE                          no prober looks there
reporters 1                             so many clients exist
busy client-0 90%                       so much of the load is this client's
meets client-0 SCOPE errors=100% [as=auth]  what this client alone meets there
cut-off NAME / reconnect NAME           the own network of a client or prober fails / works
callers WORKLOAD bad=100%               so many of its requests are malformed: 400 wherever they go
slow SCOPE 3s                           how long first tokens take there (as a rule 200ms)
skew NAME 20s behind (or: ahead)        the clock of a client or prober
interval SOURCE 20s                     how often a prober reports
double SOURCE / undouble SOURCE         two producers report under its name / one
eject SCOPE by 3 / return SCOPE         so many clients have left it by themselves / come back
status SCOPE down for 1h                a status page says so
maintenance SCOPE in 1m for 10m
mode PROVIDER recommend                 the policy puts it in this mode
manual PROVIDER                         the policy makes its failback manual
share PROVIDER 10% of WORKLOAD          the policy allows it no more of this workload
lag / caught-up                         the controller consumes nothing / does again
takeover, unsettled, settled, clock jumps, clock steady
tick 10s                                time passes, one decision a second
wait 10m                                time passes, and nobody reports, sees or decides anything in it
plan                                    prints the table and each pool's load
states                                  prints every pool that is not healthy
alarms                                  prints what a person must look at, and how many records were refused
why                                     prints what was decided since the last `why`, repeated words once,
                                        and what is said as long as it holds (a freeze, a mode) once
evidence POOL                           prints what the evidence says of it, in words
loss PROVIDER                           prints what the table says of its loss
last-resort                             prints every route's last resort

capacity_words.py has the commands about limits and contracts, client_words.py those about clients that come,
go, fall silent or lie, order_words.py operators' orders.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from controller.policy_file import load_policy
from tests.scenarios import capacity_words, client_words, order_words, telling
from tests.scenarios.world import World
from tieline.events import Claim, ClaimState

HERE = Path(__file__).parent
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


class ScenarioError(ValueError):
    """A line that is not a command."""


def play(text: str) -> str:
    """The scenario with every output as it is now."""
    world: World | None = None
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("|"):
            continue
        lines.append(line.rstrip())
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            if words[0] == "policy":
                world = World(load_policy(HERE / "policies" / f"{words[1]}.yaml"))
                world.decide()
            elif world is None:
                raise ScenarioError("begin with `policy NAME`")
            else:
                lines += [f"| {said}".rstrip() for said in COMMANDS[words[0]](world, *words[1:])]
        except (KeyError, TypeError, IndexError, ScenarioError) as error:
            raise ScenarioError(f"line {number}: {line!r}: {error}") from error
    return "\n".join(lines) + "\n"


def _ms(text: str) -> int:
    found = re.fullmatch(r"(\d+)(ms|s|m|h)", text)
    if not found:
        raise ScenarioError(f"{text!r} is not a duration such as 10s")
    return int(found[1]) * UNITS_MS[found[2]]


def _share(text: str) -> float:
    return float(text.removeprefix("errors=").removeprefix("bad=").removesuffix("%")) / 100


def _demand(world: World, route: str, units: str) -> list[str]:
    workload, origin = route.split("/")
    world.demand[workload, origin] = float(units)
    return []


def _errors(which: str) -> Callable[..., list[str]]:
    def command(world: World, scope: str, errors: str, result: str = "") -> list[str]:
        for pool in world.matching(scope):
            how = world.pools[pool]
            share = _share(errors)
            if which == "report":
                how.errors, how.probe_errors = share, None
            elif which == "clients":
                how.probe_errors = how.errors if how.probe_errors is None else how.probe_errors
                how.errors = share
            else:
                how.probe_errors = share
            how.result = result.removeprefix("as=") or "server_error"
        return []

    return command


def _set(field: str, value: object) -> Callable[..., list[str]]:
    def command(world: World, scope: str) -> list[str]:
        for pool in world.matching(scope):
            setattr(world.pools[pool], field, value)
        return []

    return command


def _amount(field: str, nothing: str) -> Callable[..., list[str]]:
    def command(world: World, scope: str, units: str) -> list[str]:
        for pool in world.matching(scope):
            setattr(world.pools[pool], field, None if units == nothing else float(units))
        return []

    return command


def _silence(world: World, source: str) -> list[str]:
    if source == "clients":
        world.clients = 0
    world.silent_sources.add(source)
    return []


def _hear(world: World, source: str) -> list[str]:
    world.silent_sources.discard(source)
    if source == "clients":
        world.clients = 4
    return []


def _reporters(world: World, count: str) -> list[str]:
    world.clients = int(count)
    return []


def _share_of(world: World, name: str, share: str) -> list[str]:
    world.reporting.of(name).share = _share(share)
    return []


def _meets(world: World, name: str, scope: str, errors: str, result: str = "") -> list[str]:
    own = world.reporting.of(name)
    for pool in world.matching(scope):
        own.meets[pool] = _share(errors)
    own.result = result.removeprefix("as=") or "server_error"
    return []


def _reporter(field: str, value: object) -> Callable[..., list[str]]:
    def command(world: World, name: str) -> list[str]:
        setattr(world.reporting.of(name), field, value)
        return []

    return command


def _callers(world: World, workload: str, bad: str) -> list[str]:
    world.reporting.callers[workload] = _share(bad)
    return []


def _slow(world: World, scope: str, period: str) -> list[str]:
    for pool in world.matching(scope):
        world.pools[pool].first_token_ms = float(_ms(period))
    return []


def _skew(world: World, name: str, period: str, side: str) -> list[str]:
    world.reporting.of(name).skew_ms = {"behind": -1, "ahead": 1}[side] * _ms(period)
    return []


def _interval(world: World, source: str, period: str) -> list[str]:
    world.reporting.of(source).interval_ms = _ms(period)
    return []


def _eject(world: World, scope: str, _by: str, count: str) -> list[str]:
    for pool in world.matching(scope):
        for number in range(int(count)):
            world.reporting.ejections.add((f"client-{number}", pool))
    return []


def _return(world: World, scope: str) -> list[str]:
    back = {key for key in world.reporting.ejections if key[1] in world.matching(scope)}
    world.reporting.ejections -= back
    world.reporting.returned |= back
    return []


def _status(world: World, scope: str, state: str, _for: str, period: str) -> list[str]:
    world.claims[scope] = ("status", Claim(cast(ClaimState, state), world.now_ms + _ms(period)))
    return []


def _maintenance(world: World, scope: str, _in: str, wait: str, _for: str, period: str) -> list[str]:
    starts_ms = world.now_ms + _ms(wait)
    world.claims[scope] = ("maintenance", Claim("maintenance", starts_ms + _ms(period), starts_ms))
    return []


def _provider(field: str) -> Callable[..., list[str]]:
    def command(world: World, name: str, value: str = "manual") -> list[str]:
        providers = tuple(
            replace(one, **{field: value}) if one.id == name else one for one in world.policy.providers
        )
        world.policy = replace(world.policy, providers=providers)
        return []

    return command


def _flag(field: str, value: bool) -> Callable[..., list[str]]:
    def command(world: World) -> list[str]:
        setattr(world, field, value)
        return []

    return command


def _clock(world: World, how: str) -> list[str]:
    world.clock_trusted = how == "steady"
    return []


def _takeover(world: World) -> list[str]:
    world.take_over()
    return []


def _tick(world: World, period: str) -> list[str]:
    before = world.publications
    urgent = 0
    for ready in world.run(_ms(period)):
        urgent += ready.table is not None and ready.urgent
    made = world.publications - before
    return [f"{made} published, {urgent} urgent"] if made else ["nothing published"]


def _wait(world: World, period: str) -> list[str]:
    world.now_ms += _ms(period)
    return []


def _share_max(world: World, provider: str, most: str, _of: str, name: str) -> list[str]:
    limit = {provider: float(most.removesuffix("%")) / 100}
    workloads = tuple(
        replace(one, provider_share_max=limit) if one.id == name else one for one in world.policy.workloads
    )
    world.policy = replace(world.policy, workloads=workloads)
    return []


COMMANDS: dict[str, Callable[..., Iterable[str]]] = {
    **capacity_words.COMMANDS,
    **client_words.COMMANDS,
    **order_words.COMMANDS,
    "evidence": telling.evidence,
    "loss": telling.loss,
    "last-resort": telling.last_resort,
    "demand": _demand,
    "report": _errors("report"),
    "clients": _errors("clients"),
    "probes": _errors("probes"),
    "hang": _set("hangs", True),
    "answer": _set("hangs", False),
    "unprobed": _set("probed", False),
    "part": _set("probe_part", True),
    "entirely": _set("probe_part", False),
    "serves": _amount("serves", "all"),
    "capacity": _amount("stated", "none"),
    "silence": _silence,
    "hear": _hear,
    "reporters": _reporters,
    "busy": _share_of,
    "meets": _meets,
    "cut-off": _reporter("cut_off", True),
    "reconnect": _reporter("cut_off", False),
    "callers": _callers,
    "slow": _slow,
    "skew": _skew,
    "interval": _interval,
    "double": _reporter("doubled", True),
    "undouble": _reporter("doubled", False),
    "eject": _eject,
    "return": _return,
    "status": _status,
    "maintenance": _maintenance,
    "mode": _provider("mode"),
    "manual": _provider("failback"),
    "share": _share_max,
    "lag": _flag("consumed", False),
    "caught-up": _flag("consumed", True),
    "takeover": _takeover,
    "unsettled": _flag("settled", False),
    "settled": _flag("settled", True),
    "clock": _clock,
    "tick": _tick,
    "wait": _wait,
    "plan": telling.plan,
    "states": telling.states,
    "alarms": telling.alarms,
    "why": telling.why,
}
