"""Reasons in words, for people. The only place where a verdict becomes a sentence."""

from controller.core.model.reasons import Reason, Verdict

WORDS: dict[Reason, str] = {
    Reason.NO_EVIDENCE: "nothing is known of it yet",
    Reason.STALE: "nothing has been heard of it for too long; it keeps what it carries and gains nothing",
    Reason.CLIENTS_FAILING: "clients' requests fail",
    Reason.PROBES_FAILING: "two probers fail",
    Reason.CLIENTS_AND_PROBES_FAILING: "clients' requests and probes fail",
    Reason.ONE_SOURCE_FAILING: "one prober alone fails",
    Reason.SOME_FAILING: "some of clients' requests fail",
    Reason.EJECTED_BY_CLIENTS: "clients have left it by themselves",
    Reason.NO_PROGRESS: "requests go in and none comes out, while other pools complete theirs",
    Reason.STATUS_STATEMENT: "a status page says so",
    Reason.CONFIGURATION_AUTH: "credentials are refused (401, 403): a configuration fault",
    Reason.CONFIGURATION_NOT_FOUND: "the model is not found (404): a configuration fault",
    Reason.SLOW: "it answers, but its first tokens take far longer than they use to",
    Reason.MODEL_FAULT: "it refuses requests (400) that its siblings serve: a fault of the model",
    Reason.SUCCEEDING: "requests succeed",
    Reason.HOLD_DOWN: "held down after its outage",
    Reason.HOLD_DOWN_OVER: "the hold-down is over: the first step of the ramp",
    Reason.RAMP_STEP: "one step up the ramp",
    Reason.RAMP_DONE: "the ramp is climbed",
    Reason.CLOCK_OR_DELAY: "its reports reach the brokers long after they were made, or before: a wrong "
    "clock, or a delay",
    Reason.DUPLICATE_SOURCE: "two producers report under its name: give each a name of its own",
    Reason.REPORTER_OF_ITS_OWN: "nothing gets through to it on any provider, so its own network is ill",
    Reason.CAPACITY_STATED: "capacity as stated",
    Reason.CAPACITY_COMMITTED: "capacity as the policy commits, as nobody states it",
    Reason.CAPACITY_EXPIRED: "its stated capacity has expired; nothing is moved onto it",
    Reason.QUOTA_GROUP: "its quota group's limit",
    Reason.THROTTLED: "capacity as its 429s showed",
    Reason.REQUESTS_LIMIT: "its limit of requests/s, at the size that its requests have",
    Reason.CONCURRENCY_LIMIT: "its limit of requests in flight, at the time that they take",
    Reason.CAPACITY_RAMPED: "capacity that is new comes into use step by step",
    Reason.CAPACITY_PLANNED: "capacity as it was planned to be from now on",
    Reason.DRAINED: "drained by an operator",
    Reason.MAINTENANCE: "under announced maintenance",
    Reason.FROZEN: "frozen by an operator: no moves by choice",
    Reason.OPERATOR_VERDICT: "an operator says so",
    Reason.APPROVED: "its provider is in mode recommend, and an operator lets it be acted on",
    Reason.MODE_OBSERVE: "its provider is in mode observe: it keeps what it carries",
    Reason.MODE_RECOMMEND: "its provider is in mode recommend: it keeps what it carries until approved",
    Reason.FAILBACK_MANUAL: "failback is manual: it waits for `tieline failback`",
    Reason.NOT_LAWFUL: "the policy does not allow it here",
    Reason.EXCLUSIVE_ELSEWHERE: "unlawful: the workload goes through another provider only",
    Reason.PROVIDER_NOT_ALLOWED: "unlawful: its provider is not among those allowed to the workload",
    Reason.PINNED_ELSEWHERE: "unlawful: the workload is pinned to other pools",
    Reason.RESIDENCY_OF_ORIGIN: "unlawful: data from this origin may not go where it is",
    Reason.RESIDENCY_OF_WORKLOAD: "unlawful: data of this workload may not go where it is",
    Reason.MODEL_NOT_OFFERED: "unlawful: it does not offer every model of the workload",
    Reason.CONTEXT_TOO_SHORT: "unlawful: a model's context is shorter than the workload needs",
    Reason.FEATURE_NOT_OFFERED: "unlawful: a model lacks a feature that the workload needs",
    Reason.UNKNOWN_LAST: "its health is unknown: it would get critical load, and only after all others",
    Reason.DEGRADED_LATE: "it is degraded: it gets only what no healthy pool takes",
    Reason.NO_CAPACITY: "it has no usable capacity",
    Reason.NO_ROOM: "other load fills what it may carry",
    Reason.GROUP_FULL: "other pools fill its quota group's limit",
    Reason.PROVIDER_SHARE_FULL: "its provider already has the largest share allowed",
    Reason.LATER_IN_MERIT: "pools before it in merit order carry everything",
    Reason.PLANNED_ELSEWHERE: "the plan for the whole table has others carry everything",
    Reason.MOVE_DUE: "load comes to it with the next moves by choice",
    Reason.FIRST_TABLE: "the first table of this lineage, from the policy alone",
    Reason.POOL_LOST: "its load moved away",
    Reason.OVERLOAD: "load above its capacity moved away",
    Reason.MADE_WAY: "load made way for more critical load",
    Reason.SHED_NO_ROOM: "shed: no lawful pool has room",
    Reason.SHED_RESTORED: "less is shed: there is room again",
    Reason.FAILBACK: "load returns to it",
    Reason.PLANNED_AHEAD: "load moved onto it, as another pool's maintenance or smaller limit is coming",
    Reason.SHARE_EXCEEDED: "its provider carried more than its largest share",
    Reason.MERIT_ORDER: "load moved onto it by merit order",
    Reason.PLAN: "load moved onto it by the plan for the whole table",
    Reason.KEEP_WARM: "a trickle keeps it known",
    Reason.KEPT_NO_ALTERNATIVE: "it keeps load: no lawful alternative has room",
    Reason.POLICY_CHANGED: "the policy changed",
    Reason.ON_LOSS_RENEWED: "what to do when a provider is lost was decided anew",
    Reason.LAST_RESORT_LEFT: "no request is tried on it any more when nothing else is left",
    Reason.LAST_RESORT_JOINED: "requests may be tried on it when nothing else is left",
    Reason.NOT_SETTLED: "held: the tables are still being read after the take-over",
    Reason.CLOCK_JUMPED: "held: this controller's clock can't be trusted",
    Reason.SOURCES_UNHEARD: "no moves by choice: too many sources are silent",
    Reason.GUARD_EMPTY_TABLE: "guard: the table would not have been whole; the one in force stays",
    Reason.GUARD_FRESH_CAPACITY: "guard: a pool without fresh capacity would have gained load",
    Reason.GUARD_PROVIDERS_LOST: "guard: most providers are lost; pools that still succeed stay in",
    Reason.GUARD_PROVIDER_SHARE: "guard: a provider would have got more than its share",
    Reason.GUARD_LAWFUL: "guard: a pool would have got load that it may not serve",
    Reason.GUARD_OVERRIDDEN: "an operator has overridden this guard",
}

#: Reasons whose measure is a share, and those whose measure is milliseconds; else it is units/s or a count.
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
        Reason.SHED_NO_ROOM,
        Reason.SHED_RESTORED,
        Reason.SOURCES_UNHEARD,
        Reason.GUARD_PROVIDER_SHARE,
        Reason.GUARD_OVERRIDDEN,
    )
)
DURATIONS = frozenset((Reason.NO_PROGRESS, Reason.SLOW, Reason.CLOCK_OR_DELAY))


def sentence(verdict: Verdict, now_ms: int) -> str:
    """One verdict in one line: subject, change, reason, measure, since and until."""
    parts = [verdict.subject]
    if verdict.after:
        parts.append(f"{verdict.before} -> {verdict.after}" if verdict.before else verdict.after)
    text = f"{' '.join(parts)}: {WORDS[verdict.reason]}"
    if measure := measured(verdict):
        text += f" ({measure})"
    if verdict.because:
        text += f" ({verdict.because})"
    if verdict.since_ms and verdict.since_ms < now_ms:
        text += f", for {duration(now_ms - verdict.since_ms)}"
    if verdict.until_ms is not None and verdict.until_ms > now_ms:
        text += f", {duration(verdict.until_ms - now_ms)} to go"
    return text


def measured(verdict: Verdict) -> str:
    """What was measured and what it was held against, in the reason's own unit; empty if nothing was."""
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
    return duration(round(value)) if reason in DURATIONS else f"{value:,g}"


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
