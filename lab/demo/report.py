"""PURE: the facts of a run as lines for a reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.demo.facts import Departure, Facts
from lab.demo.plan import Difference

LOST_SHOWN_MAX = 5
LABEL_WIDTH = 30


def report(
    facts: Facts, differences: Sequence[Difference], notes: Sequence[str] = (), failures: Sequence[str] = ()
) -> list[str]:
    """The settings that differ from the shipped ones, one fact a line, then ``notes``; the verdict last.

    ``failures``: promises that a drill saw broken. The run has passed only if there is none.
    """
    return [
        "",
        *setting_lines(differences),
        "",
        *_requests(facts),
        *_reactions(facts),
        *_promises(facts),
        *(f"lost: {story}" for story in facts.stories[:LOST_SHOWN_MAX]),
        *notes,
        *(f"not as promised: {failure}" for failure in failures),
        "",
        "passed" if facts.passed and not failures else "FAILED",
    ]


def setting_lines(differences: Sequence[Difference]) -> list[str]:
    """The settings in which the run differs from a production system, under a heading."""
    return ["settings that differ from the shipped ones:", *(f"  {difference}" for difference in differences)]


def _requests(facts: Facts) -> Iterable[str]:
    shed = ", ".join(f"{workload} {count}" for workload, count in facts.shed.items())
    yield _line("requests sent", facts.sent)
    yield _line("succeeded", facts.succeeded)
    yield _line("shed by policy", f"{sum(facts.shed.values())} ({shed})")
    yield _line("refused by a fault (4xx)", facts.ordered)
    yield _line("lost", len(facts.lost))
    yield _line("sent again by applications", f"{facts.resent} (the stream broke after its first token)")


def _reactions(facts: Facts) -> Iterable[str]:
    for departure in facts.departures:
        yield _line("last request after a fault", _when(departure))
    if (reaction := facts.reaction) is not None:
        quantiles = f"p50 {reaction.p50_ms:.0f} ms, p99 {reaction.p99_ms:.0f} ms"
        count = f"{reaction.count} values, one for each urgent table and client"
        yield _line("event to table in use", f"{quantiles} ({count})")
    yield _line("tables published", facts.generations)


def _when(departure: Departure) -> str:
    last = "none" if departure.last_ms is None else f"{departure.last_ms / 1_000:.2f} s"
    later = f", then {departure.later} single tests of the pool" if departure.later else ""
    return f"{last} ({departure.name}{later})"


def _promises(facts: Facts) -> Iterable[str]:
    if (worst := facts.overload) is not None:
        yield _line(
            "largest load of a pool",
            f"{100 * worst.ratio:.0f} % of the capacity of {worst.pool}, over {worst.window_ms / 1_000:g} s",
        )
    yield from (_line("stale or empty table", complaint) for complaint in facts.stale)
    if not facts.stale:
        yield _line("stale or empty tables", "none")
    yield from (_line("broken contract", breach) for breach in facts.broken_contracts)
    if not facts.broken_contracts:
        yield _line("broken contracts", "none (exclusivity, residency)")


def _line(label: str, value: object) -> str:
    return f"{label:<{LABEL_WIDTH}}{value}"
