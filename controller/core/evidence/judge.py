"""The findings of all pools: each pool's rules asked again only where something about it is new."""

from collections.abc import Iterable
from typing import NamedTuple

from controller.core.evidence.finding import (
    RULES,
    SILENT,
    Finding,
    Kind,
    PoolContext,
    case_of,
    slow_after_ms,
)
from controller.core.evidence.gather import Evidence
from controller.core.evidence.heard_sources import UNREAD_MS
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason
from controller.core.policy.thresholds import Thresholds


class _LastFindings(NamedTuple):
    """The last answer, and what it was the answer to; ``shared`` is what all pools have in common."""

    shared: tuple[Thresholds, set[str], set[str], bool]
    evidence: dict[str, Evidence]
    memories: dict[str, PoolMemory]
    findings: dict[str, Finding]


def judge_all(
    evidence: dict[str, Evidence],
    thresholds: Thresholds,
    memories: dict[str, PoolMemory],
    ill: set[str],
    refusing: set[str],
    memo: Memo,
    *,
    siblings_complete: bool,
) -> dict[str, Finding]:
    """The finding of every pool that has evidence and a memory, by name.

    ``ill``: pools that a status page calls ill. ``refusing``: pools that refuse what their siblings serve.
    A pool whose evidence and memory are the same objects as last time keeps its finding.
    """
    shared = (thresholds, ill, refusing, siblings_complete)
    findings: dict[str, Finding] = {}
    changed: Iterable[str] = evidence
    last = memo.last(_LastFindings)
    if last is not None and last.shared == shared:
        findings = last.findings
        changed = changed_keys(last.evidence, evidence) | changed_keys(last.memories, memories)
    findings = dict(findings) if changed else findings
    for pool in changed:
        pool_evidence, memory = evidence.get(pool), memories.get(pool)
        if pool_evidence is None or memory is None:
            findings.pop(pool, None)
            continue
        context = PoolContext(
            pool in ill,
            siblings_complete,
            pool in refusing,
            refused_before=memory.refused,
            usual_p50_ms=memory.usual_p50_ms,
            usual_p99_ms=memory.usual_p99_ms,
        )
        findings[pool] = judge(pool_evidence, thresholds, context)
    memo.keep(_LastFindings(shared, evidence, memories, findings=findings))
    return findings


def judge(evidence: Evidence, thresholds: Thresholds, context: PoolContext) -> Finding:
    """The finding that all evidence of a pool amounts to."""
    accused = context.status_says_ill or context.refuses or context.refused_before
    if not accused and _is_plainly_good(evidence, thresholds, context):
        return Finding(
            Kind.GOOD,
            Reason.SUCCEEDING,
            0.0,
            success=1.0,
            evidence_ms=_newest_ms(evidence),
            until_ms=evidence.until_ms,
        )
    case = case_of(evidence, thresholds, context)
    for rule in RULES:
        if answer := rule(case):
            kind, reason, value, limit = answer
            return Finding(
                kind,
                reason,
                value,
                limit=limit,
                success=_admitted_share(evidence) if kind is Kind.FAULT else _success_share(evidence),
                evidence_ms=_newest_ms(evidence),
                until_ms=evidence.until_ms,
            )
    return SILENT


def _is_plainly_good(evidence: Evidence, thresholds: Thresholds, context: PoolContext) -> bool:
    """The usual case, without asking every rule: enough requests, and nothing fails anywhere."""
    clients = evidence.clients
    if clients is None or clients.failures or clients.auth or clients.not_found or evidence.ejected_by:
        return False
    if clients.requests < thresholds.requests_min:
        return False
    if any(probe.failures + probe.auth + probe.not_found for probe in evidence.probes):
        return False
    p50_ms = clients.first_token_p50_ms
    return p50_ms is None or p50_ms <= slow_after_ms(context, thresholds)


def _success_share(evidence: Evidence) -> float | None:
    """The share of attempts at a pool that succeed, None without attempts."""
    clients = evidence.clients
    if clients and clients.requests:
        return 1.0 - clients.failing_share
    requests = sum(probe.requests for probe in evidence.probes)
    failures = sum(probe.failures for probe in evidence.probes)
    return 1.0 - failures / requests if requests else None


def _admitted_share(evidence: Evidence) -> float:
    """The share of clients' attempts that succeed where some are refused for their configuration."""
    clients = evidence.clients
    attempts = clients.requests + clients.configuration_faults if clients else 0
    return clients.ok / attempts if clients and attempts else 0.0


def _newest_ms(evidence: Evidence) -> int:
    """The instant of the newest evidence; ``UNREAD_MS`` if all of it is stale while newer may lie unread."""
    instants = [probe.evidence_ms for probe in evidence.probes]
    if evidence.clients is not None and not evidence.clients_unread:
        instants.append(evidence.clients.latest_ms + 1000)
    if evidence.ejected_by:
        instants.append(evidence.ejected_ms)
    return max(instants, default=UNREAD_MS)
