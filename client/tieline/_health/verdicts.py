"""PURE. All pools as this process sees them: which it keeps away from, wholly, for one model, or in part. Not
thread-safe: the router has a lock. Times are monotonic milliseconds.
"""

from collections.abc import Callable, Collection, Mapping

from tieline._health.ejection import BUCKET_MS, LEVELS, Out, PoolHealth, Throttle, Waits
from tieline._health.slowness import Slowness
from tieline.blame import BLAME_OF_RESULT, UNMARKED, Blame
from tieline.events import CONFIGURATION_FAULTS, HEALTH_FAILURES, ResultClass

Address = tuple[str, str, str]  # of a pool: its URL, adapter and the name of its credential
MayLeave = Callable[[str, PoolHealth], bool]
_CONFIGURED = frozenset({Blame.ACCOUNT, Blame.MODEL})


class Verdicts:
    """``due``: pools, and (pool, model) for single models, whose time out is over and of which no request is
    finding out yet. ``next_due_ms``: when ``tick`` has something to do. ``new_waits`` makes the waits of one
    pool."""

    def __init__(self, new_waits: Callable[[], Waits]) -> None:
        self.due: frozenset[str | tuple[str, str]] = frozenset()
        self._new_waits = new_waits
        self.next_due_ms: int | None = None
        self._credential_of: Mapping[str, str] = {}
        self._health: dict[str, PoolHealth] = {}
        self._models: dict[tuple[str, str], PoolHealth] = {}  # a 404 on one model leaves its siblings in
        self._throttles: dict[str, Throttle] = {}
        self.slowness = Slowness()

    def health(self, pool: str) -> PoolHealth:
        """The pool's record, begun at its first use."""
        health = self._health.get(pool)
        if health is None:
            # Also asked without the router's lock; of two threads that begin one, both get the same.
            health = self._health.setdefault(pool, PoolHealth(self._new_waits()))
        return health

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

    def hanging(self, now_ms: int) -> set[str]:
        """The pools that hang; see ``PoolHealth.hangs``."""
        return {pool for pool, health in list(self._health.items()) if health.hangs(now_ms)}

    def model_outs(self) -> dict[tuple[str, str], Out]:
        """(pool, model) -> why this process keeps away from one model on a pool whose others it uses."""
        return {key: health.out for key, health in self._models.items() if health.out}

    def turned_away(self) -> dict[str, float]:
        """The share of requests that is not sent to each pool because it turns most away. Pools of which
        nothing is held back are not named."""
        return {pool: throttle.level / LEVELS for pool, throttle in self._throttles.items() if throttle.level}

    def kept_back(self, pool: str) -> float:
        """The share of the pool's requests that is not sent there: because it turns most away, is just
        coming back, or answers one model at least far more slowly than usual."""
        throttle, health = self._throttles.get(pool), self._health.get(pool)
        sent = 1.0 - throttle.level / LEVELS if throttle is not None else 1.0
        sent *= self.slowness.pool_share(pool)
        return 1.0 - sent * (health.share if health is not None else 1.0)

    def returning(self) -> dict[str, float]:
        """The share of its weight that each pool gets which is coming back: less than 1."""
        return {pool: share for pool, health in self._health.items() if (share := health.share) < 1.0}

    def awaits(self, pool: str, model: str) -> bool:
        """Whether a request for the model could find out about the pool, or about the model there."""
        return pool in self.due or (pool, model) in self.due

    def trial(self, pool: str, model: str, now_ms: int) -> bool:
        """Whether a request for the model may go there now to find out; then it is the only one."""
        health = self._health.get(pool)
        if health is None or health.out is None:
            health = self._models.get((pool, model))
        if health is None or not health.due(now_ms):
            return False
        health.probe(now_ms)
        return True

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
        changed = self._model_answered(pool, model, result, blame)
        if blame in UNMARKED:
            more, out = self._record_unmarked(health, result, blame, subject=subject, now_ms=now_ms)
            return changed or more, out
        changed |= health.record(result, now_ms)
        changed |= self._throttled(pool, result, now_ms)
        if health.out is not None:
            out_changed, out = self._record_out(health, result, retry_after_ms, now_ms)
            return changed or out_changed, out
        if blame is Blame.MODEL and model:
            return self._record_fault(pool, model, result, now_ms)
        unhealthy = result in HEALTH_FAILURES and health.wants_out(now_ms) and may_leave(pool, health)
        is_full = result is ResultClass.THROTTLED and not health.serves(now_ms)
        if unhealthy or is_full or blame in _CONFIGURED:
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
        """Let pools whose time is over come back: throttled ones at once, the others half open, as are single
        models.

        ``carried``: pools to which the table gives weight. Another one is not sent requests that could find
        out, so it comes back without: whether it is used again is the planner's decision. Says whether there
        was anything to do.
        """
        if self.next_due_ms is None or now_ms < self.next_due_ms:
            return False
        for key, fault in list(self._models.items()):
            if key[0] not in carried and fault.due(now_ms):
                del self._models[key]
        for pool, health in self._health.items():
            if health.out is not None and health.due(now_ms):
                if health.out.result is ResultClass.THROTTLED:
                    health.out = None
                elif pool not in carried:
                    health.admit(now_ms, by_steps=False)
        for throttle in self._throttles.values():
            throttle.look(now_ms)
        self.refresh(now_ms)
        return True

    def hasten(self, credential: str, now_ms: int) -> None:
        """There is a new secret of this name: pools that are out for theirs may be tried at once."""
        for pool, health in self._health.items():
            own = self._credential_of.get(pool)
            if own == credential and health.out is not None and health.out.result is ResultClass.AUTH:
                health.out = Out(ResultClass.AUTH, health.out.since_ms, now_ms)

    def swap(self, before: Mapping[str, Address], after: Mapping[str, Address]) -> None:
        """Another table is in force: what was seen stays, except of pools that are gone or have another
        address."""
        self._credential_of = {pool: credential for pool, (_, _, credential) in after.items()}
        for pool, address in after.items():
            if before.get(pool, address) != address:
                self._health.pop(pool, None)
                self._throttles.pop(pool, None)
                self.slowness.forget(pool)
        self._health = {
            pool: health for pool, health in self._health.items() if pool in after or health.out is not None
        }
        self._models = {key: health for key, health in self._models.items() if key[0] in after}
        self._throttles = {pool: throttle for pool, throttle in self._throttles.items() if pool in after}

    def refresh(self, now_ms: int) -> None:
        """Work out ``due`` and ``next_due_ms``; call it after any change."""
        outs = {pool: health for pool, health in self._health.items() if health.out is not None}
        left: list[tuple[str | tuple[str, str], PoolHealth]] = [*outs.items(), *self._models.items()]
        self.due = frozenset(key for key, health in left if health.due(now_ms))
        times = [due for _, health in left if (due := health.next_due_ms()) is not None]
        if any(throttle.level for throttle in self._throttles.values()):
            times.append((now_ms // BUCKET_MS + 1) * BUCKET_MS)
        self.next_due_ms = min((at for at in times if at > now_ms), default=None)

    def _throttled(self, pool: str, result: ResultClass, now_ms: int) -> bool:
        throttle = self._throttles.get(pool)
        if throttle is None:
            throttle = self._throttles[pool] = Throttle()
        return throttle.record(now_ms, accepted=result is not ResultClass.THROTTLED)

    def _model_answered(self, pool: str, model: str, result: ResultClass, blame: Blame) -> bool:
        """Whether the pool has just shown that it has a model which it did not have."""
        shows_it = result is ResultClass.OK or blame in (Blame.CALLER, Blame.MOMENT)
        return shows_it and self._models.pop((pool, model), None) is not None

    def _record_fault(
        self, pool: str, model: str, result: ResultClass, now_ms: int
    ) -> tuple[bool, Out | None]:
        """The pool lacks one model. Of several requests that hear so together the first counts."""
        fault = self._models.setdefault((pool, model), PoolHealth(self._new_waits()))
        if fault.out is None:
            return True, fault.eject(result, now_ms)
        if not fault.probing(now_ms):
            return False, None
        fault.eject(result, now_ms)
        return True, None

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
            health.eject(result, now_ms, retry_after_ms)
            return True, None
        if result is ResultClass.THROTTLED and health.out.result is ResultClass.THROTTLED:
            before_ms = health.out.until_ms
            return health.eject(result, now_ms, retry_after_ms).until_ms > before_ms, None
        return False, None
