"""A drill as the planner remembers it: what was so before, how far it is, and what came of it."""

from enum import StrEnum

from msgspec import Struct


class DrillPhase(StrEnum):
    """How far a drill is. The pools are emptied in the first two phases."""

    EMPTYING = "emptying"
    EMPTY = "empty"
    RETURNING = "returning"
    OVER = "over"


class DrillOutcome(StrEnum):
    """What came of a drill; ``NONE`` while its pools are emptied."""

    NONE = ""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CAPACITY_CHECK_FAILED = "capacity_check_failed"
    NOT_STARTED = "not_started"


class DrillCause(StrEnum):
    """Why a drill did not begin, ended early or failed. ``model.words`` has the sentences."""

    NONE = ""
    OTHER_DRILL = "other_drill"
    NO_LOAD = "no_load"
    WOULD_SHED = "would_shed"
    WOULD_STAY = "would_stay"
    SHED = "shed"
    POOL_ILL = "pool_ill"
    THROTTLED = "throttled"
    FAILURES = "failures"
    BLIND = "blind"
    UNHEARD = "unheard"
    NO_CLIENTS = "no_clients"
    NO_ROOM = "no_room"
    NO_N_MINUS_1 = "no_n_minus_1"
    ORDER = "order"
    POLICY = "policy"
    TAKEN_BACK = "taken_back"
    NOT_EMPTIED = "not_emptied"
    TOO_SLOW = "too_slow"


class DrillMemory(Struct, frozen=True, omit_defaults=True):
    """One drill. ``id`` is that of its order. Instants are 0 until they have come.

    As it began: ``share_before``, the share of all load that the table gave the pools; ``failing_before``,
    the share of requests that failed; ``faults_before``, the pools that were ill or throttled then or shortly
    before, as ``POOL KIND``. ``objective_s`` and ``return_objective_s``: 0 where the policy names none.

    ``is_secure``: with the pools empty, the loss of one more provider would have shed no critical load.
    ``emptied`` and ``returned``: the first generations without and again with the load. ``recovered_ms``:
    when clients had left the pools. ``ended_ms``: when the pools were given back. ``about`` and ``value`` are
    what the ``cause`` is about: a pool, a workload, a provider or an order, and units/s or a share.
    """

    id: str
    scope: str
    actor: str
    reason: str
    began_ms: int
    until_ms: int
    share_before: float = 0.0
    failing_before: float = 0.0
    faults_before: tuple[str, ...] = ()
    is_secure: bool = False
    objective_s: int = 0
    return_objective_s: int = 0
    phase: DrillPhase = DrillPhase.EMPTYING
    emptied: str = ""
    recovered_ms: int = 0
    ended_ms: int = 0
    outcome: DrillOutcome = DrillOutcome.NONE
    cause: DrillCause = DrillCause.NONE
    about: str = ""
    value: float = 0.0
    returned: str = ""
    returned_ms: int = 0
    over_ms: int = 0

    @property
    def is_emptying(self) -> bool:
        """Whether the pools are to be empty now."""
        return self.phase in (DrillPhase.EMPTYING, DrillPhase.EMPTY)

    @property
    def recovery_ms(self) -> int:
        """From the order until clients had left the pools; 0 if they have not."""
        return self.recovered_ms - self.began_ms if self.recovered_ms else 0

    @property
    def return_ms(self) -> int:
        """From the end of the drill until the load was back; 0 if it was not."""
        return self.returned_ms - self.ended_ms if self.returned_ms else 0
