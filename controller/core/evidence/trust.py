"""Whether enough can be heard to move anything by choice. What counts is silence, never reports of failure.

Forced moves rest on clients' own outcomes and go on regardless. Sources and regions that the policy no longer
names are not missed: their last rows stay in the tables, and would keep the table frozen for ever.
"""

from controller.core.evidence.gather import Hearing
from controller.core.policy.compiled import CompiledPolicy
from streams.rows import Row


def unheard_share(compiled: CompiledPolicy, reports: tuple[Row, ...], heard: list[Hearing]) -> float:
    """The share of reporting (source, region) pairs that have gone silent; 0 unless in several providers."""
    if Hearing.SILENT not in heard:
        return 0.0
    sources = {source.id for source in compiled.policy.sources}
    places = {pool.rsplit("/", 1)[0] for pool in compiled.pools}
    silent: list[str] = []
    missed = 0
    for row, how in zip(reports, heard, strict=True):
        event = row.event
        if event.source in sources and f"{event.provider}/{event.region}" in places:
            missed += 1
            if how is Hearing.SILENT:
                silent.append(event.provider)
    providers_min = compiled.policy.thresholds.unheard_providers_min
    return len(silent) / missed if len(set(silent)) >= providers_min else 0.0
