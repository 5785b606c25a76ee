"""Whether enough can be heard to move anything by choice. What counts is silence, never reports of failure.

Forced moves rest on clients' own outcomes and go on regardless.
"""

from controller.core.evidence import Hearing
from streams.rows import Row

UNHEARD_SHARE_MAX = 0.5
PROVIDERS_MIN = 2


def unheard_share(reports: tuple[Row, ...], heard: list[Hearing]) -> float:
    """The share of reporting (source, region) pairs that have gone silent; 0 unless in several providers."""
    silent = [row.event.provider for row, how in zip(reports, heard, strict=True) if how is Hearing.SILENT]
    return len(silent) / len(reports) if len(set(silent)) >= PROVIDERS_MIN else 0.0
