"""Whether enough can be heard to move anything by choice. What counts is silence, never reports of failure.

Forced moves rest on clients' own outcomes and go on regardless.
"""

from controller.core.evidence import Reach, stale_after_ms
from controller.core.policy import Thresholds
from streams.rows import Row
from tieline.events import Report

UNHEARD_SHARE_MAX = 0.5
PROVIDERS_MIN = 2


def unheard_share(reports: tuple[Row, ...], reach: Reach, limits: Thresholds, now_ms: int) -> float:
    """The share of reporting (source, region) pairs that have gone silent; 0 unless in several providers."""
    silent: set[str] = set()
    count = total = 0
    for row in reports:
        report = row.event
        if not isinstance(report, Report):
            continue
        total += 1
        stale = row.evidence_ms + stale_after_ms(report.interval_ms, limits) <= now_ms
        if stale and reach.is_current("reports", row.position.partition):
            count += 1
            silent.add(report.provider)
    return count / total if len(silent) >= PROVIDERS_MIN else 0.0
