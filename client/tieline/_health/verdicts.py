"""PURE. What this process has seen of each pool, and which of them it keeps away from, wholly, for one model,
or in part. Not thread-safe: the router has a lock. Times are monotonic milliseconds.
"""

from collections.abc import Callable, Collection, Mapping

from tieline._health.ejection import Out, PoolHealth
from tieline._health.throttle import BUCKET_MS, LEVELS, Throttle
from tieline.events import CONFIGURATION_FAULTS, HEALTH_FAILURES, ResultClass

Endpoint = tuple[str, str, str]  # URL, adapter, name of the credential
MayLeave = Callable[[str, PoolHealth], bool]


class Verdicts:
    """``due``: pools whose time out is over and of which nobody is finding out yet. ``next_due_ms``: when
    ``tick`` has something to do."""

    def __init__(self) -> None:
        self.due: tuple[str, ...] = ()
        self.next_due_ms: int | None = None
        self._health: dict[str, PoolHealth] = {}
        self._models: dict[tuple[str, str], PoolHealth] = {}  # a 404 on one model leaves its siblings in
        self._throttles: dict[str, Throttle] = {}

    def health(self, pool: str) -> PoolHealth:
        """The pool's record, made at its first use."""
        health = self._health.get(pool)
        if health is None:
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
        found = {pool: health.out for (pool, _), health in self._models.items() if health.out}
        return found | {pool: health.out for pool, health in self._health.items() if health.out}

    def model_outs(self) -> dict[tuple[str, str], Out]:
        """(pool, model) -> why this process keeps away from one model on a pool whose others it uses."""
        return {key: health.out for key, health in self._models.items() if health.out}

    def kept_back(self, pool: str) -> float:
        """The share of what is meant for the pool that is not sent there, because it turns most away."""
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
    ) -> tuple[bool, Out | None]:
        """What one attempt says about its pool. Gives (whether choices must be made anew, why the pool was
        left if it was just now). ``may_leave``: whether the others can bear it."""
        health = self.health(pool)
        health.record(result, now_ms)
        changed = self._throttled(pool, result, now_ms)
        if health.out is not None:
            again, out = self._record_out(health, result, retry_after_ms, now_ms)
            return changed or again, out
        if result is ResultClass.NOT_FOUND and model:
            fault = self._models.setdefault((pool, model), PoolHealth())
            return True, fault.eject(result, now_ms)
        unhealthy = result in HEALTH_FAILURES and health.wants_out(now_ms) and may_leave(pool, health)
        if unhealthy or result is ResultClass.THROTTLED or result in CONFIGURATION_FAULTS:
            return True, health.eject(result, now_ms, retry_after_ms)
        return changed, None

    def alive(self, pool: str, now_ms: int) -> bool:
        """A stream from the pool has begun to speak: enough for a half-open pool to come back. Says whether
        it has."""
        health = self.health(pool)
        health.alive(now_ms)
        if not health.probing(now_ms):
            return False
        health.admit(now_ms)
        return True

    def tick(self, now_ms: int, carried: Collection[str]) -> bool:
        """Let pools whose time is over come back: throttled ones at once, the others half open. A pool that
        the table gives nothing (``carried`` names the others) comes back by the planner's word. Says whether
        there was anything to do."""
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

    def swap(self, before: Mapping[str, Endpoint], after: Mapping[str, Endpoint]) -> None:
        """Another table: what was seen stays, except of pools that are gone or have another endpoint."""
        for pool, endpoint in after.items():
            if before.get(pool, endpoint) != endpoint:
                self._health.pop(pool, None)
                self._throttles.pop(pool, None)
        self._health = {p: h for p, h in self._health.items() if p in after or h.out is not None}
        self._models = {key: h for key, h in self._models.items() if key[0] in after}
        self._throttles = {p: t for p, t in self._throttles.items() if p in after}

    def refresh(self, now_ms: int) -> None:
        """After any change: who is due, and when the next is."""
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

    def _record_out(
        self, health: PoolHealth, result: ResultClass, retry_after_ms: int | None, now_ms: int
    ) -> tuple[bool, Out | None]:
        """Answers of a pool that is out: only the half-open request's counts, and a later Retry-After."""
        assert health.out is not None
        if health.probing(now_ms):
            if result in (ResultClass.OK, ResultClass.CLIENT_ERROR):
                health.admit(now_ms)
                return True, None
            return True, health.eject(result, now_ms, retry_after_ms)
        if result is ResultClass.THROTTLED and health.out.result is ResultClass.THROTTLED:
            before_ms = health.out.until_ms
            return health.eject(result, now_ms, retry_after_ms).until_ms > before_ms, None
        return False, None
