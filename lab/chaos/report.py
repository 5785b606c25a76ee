"""PURE: verdicts as lines for a reader, as JSON, and as the table of docs/chaos.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.chaos.run import ChaosVerdict

TABLE_BEGINS = "<!-- written by script/chaos --write -->"
TABLE_ENDS = "<!-- end -->"
PROOFS_SHOWN_MAX = 2


def lines(verdicts: Sequence[ChaosVerdict]) -> list[str]:
    """One line for each, and a sum."""
    failed = [verdict.fault.name for verdict in verdicts if not verdict.passed]
    sent = sum(verdict.finding.sent for verdict in verdicts)
    lost = sum(len(verdict.finding.lost) for verdict in verdicts)
    return [
        "",
        *(
            f"{'ok    ' if verdict.passed else 'FAILED'} {verdict.fault.name:<34} {measured(verdict)}"
            for verdict in verdicts
        ),
        "",
        f"{len(verdicts)} faults, {len(failed)} failed; {sent} requests, {lost} lost",
    ]


def measured(verdict: ChaosVerdict) -> str:
    """What was measured, in words."""
    units = {promise.what: promise.unit for promise in verdict.fault.promises}
    values = [
        f"{what} {value:.1f} {units.get(what, 's')}" for what, value in sorted(verdict.measures.items())
    ]
    finding = verdict.finding
    requests = f"{len(finding.lost)} of {finding.sent} requests lost"
    return "; ".join((*values, requests, f"calm after {verdict.calm_s:.1f} s"))


def promised(verdict: ChaosVerdict) -> str:
    """What was promised, in words; what holds under every fault is not repeated."""
    return "; ".join((*map(str, verdict.fault.promises), f"calm within {verdict.fault.calm_within_s:g} s"))


def as_json(verdicts: Sequence[ChaosVerdict]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            "fault": verdict.fault.name,
            "does": verdict.fault.does,
            "proofs": verdict.proofs,
            "promised": [promise._asdict() for promise in verdict.fault.promises],
            "measured": verdict.measures,
            "requests": verdict.finding.sent,
            "lost": verdict.finding.lost,
            "shed": verdict.finding.shed,
            "published": verdict.finding.published,
            "calm_s": round(verdict.calm_s, 2),
            "took_s": round(verdict.took_s, 2),
            "passed": verdict.passed,
            "failures": verdict.failures,
        }
        for verdict in verdicts
    ]


def rewritten(page: str, verdicts: Sequence[ChaosVerdict], names: Sequence[str]) -> str:
    """The page with new rows for these verdicts; other faults of ``names`` keep theirs.

    Raises ValueError if the page has no place for a table.
    """
    before, begins, rest = page.partition(TABLE_BEGINS)
    old, ends, after = rest.partition(TABLE_ENDS)
    if not begins or not ends:
        raise ValueError(f"the page has no {TABLE_BEGINS} ... {TABLE_ENDS}")
    rows = {line.split("`")[1]: line for line in old.splitlines() if line.startswith("| `")}
    rows |= {verdict.fault.name: _row(verdict) for verdict in verdicts}
    lines = ("| fault | proof | promised | measured |", "|---|---|---|---|")
    table = "\n".join((*lines, *(rows[name] for name in names if name in rows)))
    return f"{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}"


def _row(verdict: ChaosVerdict) -> str:
    """One row of the page: fault, proof, promised, measured."""
    does = verdict.fault.does
    state = "" if verdict.passed else "**not as promised**: "
    cells = (
        f"`{verdict.fault.name}`: {does}",
        _proofs(verdict),
        promised(verdict),
        state + measured(verdict),
    )
    return f"| {' | '.join(cells)} |"


def _proofs(verdict: ChaosVerdict) -> str:
    return "; ".join(verdict.proofs[:PROOFS_SHOWN_MAX]).replace("|", "/").replace("\n", " ")
