"""PURE. All pools as this process sees them: which it keeps away from, wholly, for one model, or in part. Not
thread-safe: the router has a lock. Times are monotonic milliseconds.
"""

from collections.abc import Callable, Collection, Mapping

from tieline._health.ejection import BUCKET_MS, LEVELS, Out, PoolHealth, Throttle
from tieline.blame import BLAME_OF_RESULT, UNMARKED, Blame
from tieline.events import CONFIGURATION_FAULTS, HEALTH_FAILURES, ResultClass

Address = tuple[str, str, str]  # of a pool: its URL, adapter and the name of its credential
MayLeave = Callable[[str, PoolHealth], bool]
_CONFIGURED = frozenset({Blame.ACCOUNT, Blame.MODEL})


class Verdicts:
    """``due``: pools whose time out is over and of which no request is finding out yet. ``next_due_ms``: when
    ``tick`` has something to do."""

    def __init__(self) -> None:
        self.due: tuple[str, ...] = ()
        self.next_due_ms: int | None = None
        self._health: dict[str, PoolHealth] = {}
        self._models: dict[tuple[str, str], PoolHealth] = {}  # a 404 on one model leaves its siblings in
        self._throttles: dict[str, Throttle] = {}

    def health(self, pool: str) -> PoolHealth:
        """The pool's record, begun at its first use."""
        health = self._health.get(pool)
        if health is None:
            # Also asked without the router's lock; of two threads that begin one, both get the same.
            health = self._health.setdefault(pool, PoolHealth())
        return health

    def known(self, pool: str) -> PoolHealth | None:
        """The pool's record, if there is one."""
        return self._health.get(pool)

    def out_of(self, pool: str, model: str) -> Out | None:
        """Why this process keeps away from the pool, or from one model on it; None when it doesn't."""
        health = self._health.get(pool)
        if health is not None and health.out is not None:
            return health.out
        fault = self._models.get((pool, model)) if model else None
        return fault.out if fault is not None else None

    def outs(self) -> dict[str, Out]:
        """Every pool that this process keeps away from, wholly or for a model."""
        for_models = {pool: health.out for (pool, _), health in self._models.items() if health.out}
        return for_models | {pool: health.out for pool, health in self._health.items() if health.out}

    def model_outs(self) -> dict[tuple[str, str], Out]:
        """(pool, model) -> why this process keeps away from one model on a pool whose others it uses."""
        return {key: health.out for key, health in self._models.items() if health.out}

    def kept_back(self, pool: str) -> float:
        """The share of the pool's requests that is not sent there, because it turns most away."""
        throttle = self._throttles.get(pool)
        return throttle.level / LEVELS if throttle is not None else 0.0

    def record(
        self,
        pool: str,
        model: str,
        result: ResultClass,
        now_ms: int,
        *,
        retry_after_ms: int | None,
        may_leave: MayLeave,
        blame: Blame | None = None,
        subject: int = 0,
    ) -> tuple[bool, Out | None]:
        """Take in what one attempt says about its pool. Gives (whether choices must be compiled anew, why the
        pool was left if it was just now). ``may_leave(pool, health)``: whether the others can bear it.
        ``blame``, ``subject``: as in ``Outcome``."""
        health = self.health(pool)
        blame = BLAME_OF_RESULT[result] if blame is None else blame
        if blame in UNMARKED:
            return self._record_unmarked(health, result, blame, subject=subject, now_ms=now_ms)
        health.record(result, now_ms)
        changed = self._throttled(pool, result, now_ms)
        if health.out is not None:
            out_changed, out = self._record_out(health, result, retry_after_ms, now_ms)
            return changed or out_changed, out
        if blame is Blame.MODEL and model:
            fault = self._models.setdefault((pool, model), PoolHealth())
            return True, fault.eject(result, now_ms)
        unhealthy = result in HEALTH_FAILURES and health.wants_out(now_ms) and may_leave(pool, health)
        if unhealthy or result is ResultClass.THROTTLED or blame in _CONFIGURED:
            return True, health.eject(result, now_ms, retry_after_ms)
        return changed, None

    def alive(self, pool: str, now_ms: int) -> bool:
        """A stream from the pool has given its first output: enough for a half-open pool to come back. Says
        whether it has."""
        health = self.health(pool)
        health.alive(now_ms)
        if not health.probing(now_ms):
            return False
        health.admit(now_ms)
        return True

    def tick(self, now_ms: int, carried: Collection[str]) -> bool:
        """Let pools whose time is over come back: throttled ones at once, the others half open.

        ``carried``: pools to which the table gives weight. Another one is not sent requests that could find
        out, so it comes back without: whether it is used again is the planner's decision. Says whether there
        was anything to do.
        """
        if self.next_due_ms is None or now_ms < self.next_due_ms:
            return False
        for fault in self._models.values():
            if fault.due(now_ms):
                fault.out = None
        for pool, health in self._health.items():
            if health.out is not None and health.due(now_ms):
                if health.out.result is ResultClass.THROTTLED:
                    health.out = None
                elif pool not in carried:
                    health.admit(now_ms)
        for throttle in self._throttles.values():
            throttle.look(now_ms)
        self.refresh(now_ms)
        return True

    def swap(self, before: Mapping[str, Address], after: Mapping[str, Address]) -> None:
        """Another table is in force: what was seen stays, except of pools that are gone or have another
        address."""
        for pool, address in after.items():
            if before.get(pool, address) != address:
                self._health.pop(pool, None)
                self._throttles.pop(pool, None)
        self._health = {
            pool: health for pool, health in self._health.items() if pool in after or health.out is not None
        }
        self._models = {key: health for key, health in self._models.items() if key[0] in after}
        self._throttles = {pool: throttle for pool, throttle in self._throttles.items() if pool in after}

    def refresh(self, now_ms: int) -> None:
        """Work out ``due`` and ``next_due_ms``; call it after any change."""
        outs = {pool: health for pool, health in self._health.items() if health.out is not None}
        self.due = tuple(sorted(pool for pool, health in outs.items() if health.due(now_ms)))
        faults = [health for health in self._models.values() if health.out is not None]
        times = [due for health in [*outs.values(), *faults] if (due := health.next_due_ms()) is not None]
        if any(throttle.level for throttle in self._throttles.values()):
            times.append((now_ms // BUCKET_MS + 1) * BUCKET_MS)
        self.next_due_ms = min((at for at in times if at > now_ms), default=None)

    def _throttled(self, pool: str, result: ResultClass, now_ms: int) -> bool:
        throttle = self._throttles.get(pool)
        if throttle is None:
            throttle = self._throttles[pool] = Throttle()
        return throttle.record(now_ms, accepted=result is not ResultClass.THROTTLED)

    def _record_unmarked(
        self, health: PoolHealth, result: ResultClass, blame: Blame, *, subject: int, now_ms: int
    ) -> tuple[bool, Out | None]:
        """An answer that speaks of one request, or of its moment: the pool answers, which is all that a half
        open one must show. Refusals of different requests with nothing else between them are a fault."""
        if health.probing(now_ms):
            health.admit(now_ms)
            return True, None
        refused = blame is Blame.REQUEST and result in CONFIGURATION_FAULTS
        if refused and health.out is None and health.refused(subject):
            return True, health.eject(result, now_ms)
        return False, None

    def _record_out(
        self, health: PoolHealth, result: ResultClass, retry_after_ms: int | None, now_ms: int
    ) -> tuple[bool, Out | None]:
        """The answer of a pool that is out. Only the half-open request's counts, and a later Retry-After."""
        assert health.out is not None
        if health.probing(now_ms):
            if result is ResultClass.OK:
                health.admit(now_ms)
                return True, None
            return True, health.eject(result, now_ms, retry_after_ms)
        if result is ResultClass.THROTTLED and health.out.result is ResultClass.THROTTLED:
            before_ms = health.out.until_ms
            return health.eject(result, now_ms, retry_after_ms).until_ms > before_ms, None
        return False, None
