"""Reasons as values: why something is so, since when and until when. ``words`` turns them into sentences."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """Health of a pool."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    RECOVERING = "recovering"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Every reason that a decision can give."""

    # evidence
    NO_EVIDENCE = "no_evidence"
    STALE = "stale"
    CLIENTS_FAILING = "clients_failing"
    PROBES_FAILING = "probes_failing"
    CLIENTS_AND_PROBES_FAILING = "clients_and_probes_failing"
    ONE_SOURCE_FAILING = "one_source_failing"
    SOME_FAILING = "some_failing"
    EJECTED_BY_CLIENTS = "ejected_by_clients"
    NO_PROGRESS = "no_progress"
    STATUS_STATEMENT = "status_statement"
    CONFIGURATION_AUTH = "configuration_auth"
    CONFIGURATION_NOT_FOUND = "configuration_not_found"
    SLOW = "slow"
    MODEL_FAULT = "model_fault"
    CALLERS_AT_FAULT = "callers_at_fault"
    SUCCEEDING = "succeeding"
    HOLD_DOWN = "hold_down"
    HOLD_DOWN_OVER = "hold_down_over"
    RAMP_STEP = "ramp_step"
    RAMP_DONE = "ramp_done"
    # what is wrong with evidence itself
    CLOCK_OR_DELAY = "clock_or_delay"
    DUPLICATE_SOURCE = "duplicate_source"
    CLIENT_DOUBTED = "client_doubted"
    CLIENTS_UNHEARD = "clients_unheard"
    SOURCE_SILENT = "source_silent"
    SOURCE_REFUSED = "source_refused"
    REPORTER_OF_ITS_OWN = "reporter_of_its_own"
    NOT_READ = "not_read"
    NOT_WATCHED = "not_watched"
    LETTERS_WAIT = "letters_wait"
    REPORTS_SKIPPED = "reports_skipped"
    # capacity
    CAPACITY_STATED = "capacity_stated"
    CAPACITY_ACCEPTED = "capacity_accepted"
    CAPACITY_BY_POLICY = "capacity_by_policy"
    CAPACITY_EXPIRED = "capacity_expired"
    CAPACITY_CONTRADICTED = "capacity_contradicted"
    QUOTA_GROUP = "quota_group"
    THROTTLED = "throttled"
    NEAR_RATE_LIMIT = "near_rate_limit"
    REQUESTS_LIMIT = "requests_limit"
    CONCURRENCY_LIMIT = "concurrency_limit"
    CAPACITY_RAMPED = "capacity_ramped"
    CAPACITY_PLANNED = "capacity_planned"
    # operators and law
    DRAINED = "drained"
    EVACUATED = "evacuated"
    DRILLED = "drilled"
    PINNED_BY_ORDER = "pinned_by_order"
    FAILED_OVER = "failed_over"
    MAINTENANCE = "maintenance"
    FROZEN = "frozen"
    OPERATOR_VERDICT = "operator_verdict"
    APPROVED = "approved"
    MODE_OBSERVE = "mode_observe"
    MODE_RECOMMEND = "mode_recommend"
    FAILBACK_MANUAL = "failback_manual"
    NOT_LAWFUL = "not_lawful"
    EXCLUSIVE_ELSEWHERE = "exclusive_elsewhere"
    PROVIDER_NOT_ALLOWED = "provider_not_allowed"
    PINNED_ELSEWHERE = "pinned_elsewhere"
    RESIDENCY_OF_ORIGIN = "residency_of_origin"
    RESIDENCY_OF_WORKLOAD = "residency_of_workload"
    MODEL_NOT_OFFERED = "model_not_offered"
    CONTEXT_TOO_SHORT = "context_too_short"
    FEATURE_NOT_OFFERED = "feature_not_offered"
    # why a pool that may get load gets none
    UNKNOWN_LAST = "unknown_last"
    DEGRADED_LATE = "degraded_late"
    NO_CAPACITY = "no_capacity"
    NO_ROOM = "no_room"
    GROUP_FULL = "group_full"
    PROVIDER_SHARE_FULL = "provider_share_full"
    LATER_IN_MERIT = "later_in_merit"
    PLANNED_ELSEWHERE = "planned_elsewhere"
    MOVE_DUE = "move_due"
    # moves
    FIRST_TABLE = "first_table"
    POOL_LOST = "pool_lost"
    OVERLOAD = "overload"
    MADE_WAY = "made_way"
    SHED_NO_ROOM = "shed_no_room"
    SHED_RESTORED = "shed_restored"
    FAILBACK = "failback"
    PLANNED_AHEAD = "planned_ahead"
    SHARE_EXCEEDED = "share_exceeded"
    MERIT_ORDER = "merit_order"
    PLAN = "plan"
    KEEP_WARM = "keep_warm"
    KEPT_NO_ALTERNATIVE = "kept_no_alternative"
    POLICY_CHANGED = "policy_changed"
    ON_LOSS_RENEWED = "on_loss_renewed"
    ON_LOSS_LEFT = "on_loss_left"
    LAST_RESORT_LEFT = "last_resort_left"
    LAST_RESORT_JOINED = "last_resort_joined"
    # why the table is held, and guards
    NOT_SETTLED = "not_settled"
    CLOCK_JUMPED = "clock_jumped"
    SOURCES_UNHEARD = "sources_unheard"
    GUARD_EMPTY_TABLE = "guard_empty_table"
    GUARD_FRESH_CAPACITY = "guard_fresh_capacity"
    GUARD_PROVIDERS_LOST = "guard_providers_lost"
    GUARD_PROVIDER_SHARE = "guard_provider_share"
    GUARD_LAWFUL = "guard_lawful"
    GUARD_OVERRIDDEN = "guard_overridden"


CONFIGURATION_REASONS = (Reason.CONFIGURATION_AUTH, Reason.CONFIGURATION_NOT_FOUND)


class Verdict(Struct, frozen=True, omit_defaults=True):
    """Why something is so. ``subject`` is a pool, a route ``workload/origin``, a provider, a source,
    ``clients`` or ``table``.

    ``before`` and ``after`` are states or shares as text, where the verdict is a change. ``value`` was
    measured and ``limit`` is what it was compared with: shares, units/s, counts or ms, as the reason says.
    ``because``: an operator's name and words, or the code of the reason for a move that is held back.
    """

    subject: str
    reason: Reason
    since_ms: int
    until_ms: int | None = None
    before: str = ""
    after: str = ""
    value: float | None = None
    limit: float | None = None
    because: str = ""
