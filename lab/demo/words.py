"""PURE: facts as lines for a reader."""

from __future__ import annotations

from collections.abc import Sequence

from lab.demo.facts import LOST_SHOWN_MAX, Facts
from lab.demo.plan import Difference


def report(facts: Facts, differences: Sequence[Difference], notes: Sequence[str] = ()) -> list[str]:
    """What was measured, one fact a line; the verdict last."""
    shed = ", ".join(f"{workload} {count}" for workload, count in facts.shed.items())
    lines = [str(one) for one in differences]
    lines += [
        "",
        f"requests sent             {facts.sent}",
        f"succeeded                 {facts.succeeded}",
        f"shed by policy            {sum(facts.shed.values())} ({shed})",
        f"told a 4xx by a stand-in  {facts.told}",
        f"lost                      {len(facts.lost)}",
        f"asked again by the caller {facts.asked_again} (their stream broke after its first token)",
    ]
    for one in facts.departures:
        when = "none at all" if one.last_ms is None else f"{one.last_ms / 1_000:.2f} s after the fault"
        later = f", and {one.later} single tries later" if one.later else ""
        lines.append(f"last request sent there   {when}{later}: {one.name}")
    if facts.reaction is not None:
        reaction = facts.reaction
        lines.append(
            f"event -> applied          p50 {reaction.p50_ms:.0f} ms, p99 {reaction.p99_ms:.0f} ms "
            f"({reaction.count} of urgent tables and clients)"
        )
    lines.append(f"generations               {facts.generations}")
    if facts.overload is not None:
        worst = facts.overload
        lines.append(
            f"largest overload          {100 * worst.ratio:.0f} % of what {worst.pool} could give, "
            f"over {worst.window_ms / 1_000:g} s"
        )
    lines += [f"stale or empty table      {one}" for one in facts.stale] or ["stale or empty tables     none"]
    lines += [f"contract broken           {one}" for one in facts.broken_contracts] or [
        "contracts broken          none (exclusivity, residency)"
    ]
    lines += [f"lost: {one}" for one in facts.lost[:LOST_SHOWN_MAX]]
    lines += list(notes)
    lines += ["", "passed" if facts.passed else "FAILED"]
    return lines
