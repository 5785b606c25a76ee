"""Reasons in words, for people: the only place where a reason becomes a sentence.

Each text in ``WORDS`` is about the verdict's subject, which it calls "it", and can be read alone.
"""

from collections.abc import Mapping

from controller.core.model.reasons import Reason, Verdict

WORDS: Mapping[str, str] = {
    Reason.NO_EVIDENCE: "there is no fresh evidence about it",
    Reason.STALE: "no source has reported on it for too long: it keeps what it carries and gains nothing",
    Reason.CLIENTS_FAILING: "clients' requests fail there",
    Reason.PROBES_FAILING: "the probes of two sources fail there",
    Reason.CLIENTS_AND_PROBES_FAILING: "clients' requests and probes fail there",
    Reason.ONE_SOURCE_FAILING: "the probes of one source fail there, and nobody else confirms it",
    Reason.SOME_FAILING: "some requests fail there",
    Reason.EJECTED_BY_CLIENTS: "clients have stopped using it by themselves",
    Reason.NO_PROGRESS: "requests go in and no answers come out, while other pools complete theirs",
    Reason.STATUS_STATEMENT: "a status page reports trouble there",
    Reason.CONFIGURATION_AUTH: "it refuses the credentials (401, 403): a fault of configuration",
    Reason.CONFIGURATION_NOT_FOUND: "it does not know the model (404): a fault of configuration",
    Reason.SLOW: "it answers, but its first tokens take far longer than usual",
    Reason.MODEL_FAULT: "it refuses requests (400) that its siblings serve: a fault of its model",
    Reason.CALLERS_AT_FAULT: "it refuses most requests (400), and no sibling shows that they are in order: "
    "that says nothing about its health",
    Reason.SUCCEEDING: "requests succeed there",
    Reason.HOLD_DOWN: "it is held down after its outage",
    Reason.HOLD_DOWN_OVER: "its hold-down is over, and its ramp begins",
    Reason.RAMP_STEP: "its ramp goes up by one step",
    Reason.RAMP_DONE: "its ramp is complete",
    Reason.CLOCK_OR_DELAY: "its reports reach Kafka long after they were made, or before: its clock is "
    "wrong, or they are delayed",
    Reason.DUPLICATE_SOURCE: "two producers report under its name: give each a name of its own",
    Reason.CLIENT_DOUBTED: "its reports are not credible: it asks for far more than it is served, or for "
    "workloads and origins that the policy does not name",
    Reason.CLIENTS_UNHEARD: "some have fallen silent without a goodbye: their load is counted on as it was",
    Reason.SOURCE_SILENT: "its last word on the capacity of some pools is over: they gain nothing until it "
    "speaks again",
    Reason.SOURCE_REFUSED: "pools refuse its requests (401, 403, 404), and not those of others: its own "
    "credential or model name is at fault",
    Reason.REPORTER_OF_ITS_OWN: "none of its requests succeeds on any provider: its own network is at fault",
    Reason.NOT_READ: "its records are not read to the end, so newer evidence may lie there unseen",
    Reason.NOT_WATCHED: "no controller says any more how far it is read",
    Reason.LETTERS_WAIT: "dead letters of its records wait, because their topic takes none",
    Reason.REPORTS_SKIPPED: "most of its reports are skipped as too old: a backlog is being read, or the "
    "clock of a controller or of a broker was set",
    Reason.CAPACITY_STATED: "a source states its capacity",
    Reason.CAPACITY_ACCEPTED: "its provider has promised more capacity, which counts from its start",
    Reason.CAPACITY_BY_POLICY: "no source could state its capacity, so the limit in the policy counts",
    Reason.CAPACITY_EXPIRED: "no source states its capacity now: it keeps what it carries and gains nothing",
    Reason.CAPACITY_CONTRADICTED: "sources state that it can give nothing, but clients are served there",
    Reason.QUOTA_GROUP: "its quota group's limit binds it",
    Reason.THROTTLED: "its 429 answers show how much it can carry",
    Reason.NEAR_RATE_LIMIT: "the rate-limit headers of its answers say that little is left",
    Reason.REQUESTS_LIMIT: "its limit of requests/s binds it, at the size of its requests",
    Reason.CONCURRENCY_LIMIT: "its limit of requests in flight binds it, at the time that its requests take",
    Reason.CAPACITY_RAMPED: "its new capacity comes into use step by step",
    Reason.CAPACITY_PLANNED: "its planned capacity counts from now on",
    Reason.DRAINED: "an operator drained it",
    Reason.EVACUATED: "an operator evacuates it: its load leaves as fast as other pools have room",
    Reason.DRILLED: "it is emptied for a drill, which ends by itself",
    Reason.PINNED_BY_ORDER: "an operator pinned this workload to other pools",
    Reason.FAILED_OVER: "load left it, as an operator moves a workload to another pool",
    Reason.MAINTENANCE: "it is under announced maintenance",
    Reason.FROZEN: "an operator froze it: nothing moves by choice",
    Reason.OPERATOR_VERDICT: "an operator's verdict says so",
    Reason.APPROVED: "its provider is in mode recommend, and an operator approved acting on it",
    Reason.MODE_OBSERVE: "its provider is in mode observe: it keeps what it carries",
    Reason.MODE_RECOMMEND: "its provider is in mode recommend: it keeps what it carries until an operator "
    "approves",
    Reason.FAILBACK_MANUAL: "its failback is manual: it waits for `tieline failback`",
    Reason.NOT_LAWFUL: "the policy does not allow it here",
    Reason.EXCLUSIVE_ELSEWHERE: "the policy binds this workload to another provider",
    Reason.PROVIDER_NOT_ALLOWED: "the policy allows this workload other providers only",
    Reason.PINNED_ELSEWHERE: "the policy pins this workload to other pools",
    Reason.RESIDENCY_OF_ORIGIN: "data from this origin may go to other geographies only",
    Reason.RESIDENCY_OF_WORKLOAD: "data of this workload may go to other geographies only",
    Reason.MODEL_NOT_OFFERED: "it does not offer every model that this workload needs",
    Reason.CONTEXT_TOO_SHORT: "one of its models has a shorter context than this workload needs",
    Reason.FEATURE_NOT_OFFERED: "one of its models lacks a feature that this workload needs",
    Reason.UNKNOWN_LAST: "its health is unknown: it gets critical load only, after all other pools",
    Reason.DEGRADED_LATE: "it is degraded: it gets only what no healthy pool can take",
    Reason.NO_CAPACITY: "it has no usable capacity",
    Reason.NO_ROOM: "other load fills what it may carry",
    Reason.GROUP_FULL: "other pools use up its quota group's limit",
    Reason.PROVIDER_SHARE_FULL: "its provider already has the largest share that the policy allows",
    Reason.LATER_IN_MERIT: "pools before it in merit order carry everything",
    Reason.PLANNED_ELSEWHERE: "the plan for the whole table gives this load to other pools",
    Reason.MOVE_DUE: "it gets load with the next moves by choice",
    Reason.FIRST_TABLE: "the first table of this lineage is made from the policy alone",
    Reason.POOL_LOST: "its load moved away",
    Reason.OVERLOAD: "the load above its capacity moved away",
    Reason.MADE_WAY: "its load made way for more critical load",
    Reason.SHED_NO_ROOM: "load is shed, because no lawful pool has room",
    Reason.SHED_RESTORED: "less load is shed, because there is room again",
    Reason.FAILBACK: "load returns to it",
    Reason.PLANNED_AHEAD: "load moved onto it, before another pool's maintenance or smaller limit begins",
    Reason.SHARE_EXCEEDED: "its provider carried more than the largest share that the policy allows",
    Reason.MERIT_ORDER: "load moved onto it by merit order",
    Reason.PLAN: "load moved onto it by the plan for the whole table",
    Reason.KEEP_WARM: "it gets a trickle of load, so that its health stays known",
    Reason.KEPT_NO_ALTERNATIVE: "it keeps load, because no lawful alternative has room",
    Reason.POLICY_CHANGED: "the policy changed",
    Reason.ON_LOSS_RENEWED: "the splits for the loss of each provider were decided anew",
    Reason.ON_LOSS_LEFT: "clients no longer count on it when a provider is lost",
    Reason.LAST_RESORT_LEFT: "clients no longer try it when they have nothing else left",
    Reason.LAST_RESORT_JOINED: "clients may try it again when they have nothing else left",
    Reason.NOT_SETTLED: "the routes stay: the tables of evidence are still being read after the take-over",
    Reason.CLOCK_JUMPED: "the routes stay: this controller's clock can't be trusted",
    Reason.SOURCES_UNHEARD: "nothing moves by choice: too many sources are silent",
    Reason.GUARD_EMPTY_TABLE: "by the guard whole_table only a whole table is published: the one in force "
    "stays",
    Reason.GUARD_FRESH_CAPACITY: "by the guard fresh_capacity no load moves onto pools with stale capacity",
    Reason.GUARD_PROVIDERS_LOST: "by the guard providers_lost pools that still succeed stay in use while "
    "most providers are lost",
    Reason.GUARD_PROVIDER_SHARE: "by the guard provider_share no provider gets more than the policy allows",
    Reason.GUARD_LAWFUL: "by the guard lawful no pool gets load that it may not serve",
    Reason.GUARD_OVERRIDDEN: "an operator's override lets this pass",
}

#: Reasons whose value is a share, in milliseconds, or a number of clients. All other values are in units/s.
SHARES = frozenset(
    (
        Reason.CLIENTS_FAILING,
        Reason.PROBES_FAILING,
        Reason.CLIENTS_AND_PROBES_FAILING,
        Reason.ONE_SOURCE_FAILING,
        Reason.SOME_FAILING,
        Reason.CONFIGURATION_AUTH,
        Reason.CONFIGURATION_NOT_FOUND,
        Reason.MODEL_FAULT,
        Reason.CALLERS_AT_FAULT,
        Reason.REPORTS_SKIPPED,
        Reason.SHED_NO_ROOM,
        Reason.SHED_RESTORED,
        Reason.SOURCES_UNHEARD,
        Reason.MOVE_DUE,
        Reason.PROVIDER_SHARE_FULL,
        Reason.GUARD_PROVIDER_SHARE,
        Reason.GUARD_OVERRIDDEN,
    )
)
DURATIONS = frozenset((Reason.NO_PROGRESS, Reason.SLOW, Reason.CLOCK_OR_DELAY))
COUNTS = frozenset(
    (
        Reason.EJECTED_BY_CLIENTS,
        Reason.SOURCE_REFUSED,
        Reason.SOURCE_SILENT,
        Reason.REPORTER_OF_ITS_OWN,
        Reason.NOT_READ,
        Reason.LETTERS_WAIT,
    )
)


#: The words for a move that is held back, which may go either way.
CAUSES: Mapping[str, str] = {
    Reason.MERIT_ORDER: "by merit order",
    Reason.PLAN: "by the plan for the whole table",
}


def in_words(reason: str) -> str:
    """The words for a reason's code; any other text, such as an operator's, as it is."""
    return WORDS.get(reason, reason)


def sentence(verdict: Verdict, now_ms: int) -> str:
    """One verdict in one line: subject, change, reason, value, cause, since when and until when."""
    parts = [verdict.subject]
    if verdict.after:
        parts.append(f"{verdict.before} -> {verdict.after}" if verdict.before else verdict.after)
    text = f"{' '.join(parts)}: {WORDS[verdict.reason]}"
    if measure := measured(verdict):
        text += f" ({measure})"
    if verdict.because:
        text += f" ({CAUSES.get(verdict.because) or in_words(verdict.because)})"
    return text + lasting(verdict, now_ms)


def lasting(verdict: Verdict, now_ms: int) -> str:
    """For how long it has been so, and for how long it still will be: ``, for 6 s, 29 s to go``."""
    text = ""
    if verdict.since_ms and verdict.since_ms < now_ms:
        text += f", for {duration(now_ms - verdict.since_ms)}"
    if verdict.until_ms is not None and verdict.until_ms > now_ms:
        text += f", {duration(verdict.until_ms - now_ms)} to go"
    return text


def measured(verdict: Verdict) -> str:
    """The value and what it was compared with, in the reason's own unit; empty without a value."""
    if verdict.value is None or (verdict.reason is Reason.SUCCEEDING and not verdict.value):
        return ""
    if verdict.reason is Reason.SUCCEEDING:
        return f"{verdict.value:.1%} fail"
    if verdict.limit is None:
        return _amount(verdict.reason, verdict.value)
    return f"{_amount(verdict.reason, verdict.value)} against {_amount(verdict.reason, verdict.limit)}"


def _amount(reason: Reason, value: float) -> str:
    if reason in SHARES:
        return f"{value:.1%}"
    if reason in DURATIONS:
        return duration(round(value))
    if reason in COUNTS:
        return f"{value:,.0f}"
    return f"{value:,.0f} units/s" if value >= 10 else f"{value:.2g} units/s"


def duration(milliseconds: int) -> str:
    """Such as 850 ms, 12 s, 3 min, 2 h 5 min."""
    if milliseconds < 0:
        return f"-{duration(-milliseconds)}"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    seconds = milliseconds // 1_000
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
