"""PURE. Which pool a request goes to, by the table in force, the pools this process keeps away from, and the
compiled choices. Not thread-safe: the router has a lock. Times are monotonic milliseconds.

A choice is compiled anew when the table is swapped or a pool goes out or comes back, never by a pick of one
that exists.
"""

from collections.abc import Collection

from tieline._health.verdicts import Verdicts
from tieline._routing.choices import ChoiceKey, Choices
from tieline._routing.compile import Report, compile_choice, target_of
from tieline._routing.fallback import PoolQuery, after_losses, with_fallbacks
from tieline._routing.pick import Choice
from tieline._routing.route import Needs, Reason, Route, Shed, Target
from tieline._routing.shares import Shares, shares_of
from tieline._routing.slices import (
    Candidate,
    ClientTable,
    awaits_trial,
    candidates,
    normalise,
    sharing_state,
    weighted,
)
from tieline.table import MILLION, Slice


class Chooser:
    """``table``: the one in force, None before the first. ``why_no_table``: what to say while there is none.
    ``phase`` in [0, 1) differs between processes. ``report`` hears how requests by its routes end."""

    def __init__(
        self, workload: str, origin: str, *, verdicts: Verdicts, phase: float, report: Report
    ) -> None:
        self.table: ClientTable | None = None
        self.why_no_table = "the client is not running: use `async with`, `with`, or start()"
        self.choices = Choices(origin)
        self._workload = workload
        self._origin = origin
        self._verdicts = verdicts
        self._phase = phase
        self._report = report
        self._shares: dict[ChoiceKey, tuple[Choice, frozenset[str], Shares]] = {}

    def choose(
        self,
        model: str,
        session: str | None,
        needs: Needs | None,
        *,
        exclude: Collection[str],
        origin: str,
        now_ms: int,
    ) -> Route | Shed:
        """A route by weight, or the session's; with ``exclude`` it is a retry, which is not counted."""
        part = None if self.table is None else self.table.parts.get(origin)
        if part is None:
            return self._nowhere(origin)
        key = ChoiceKey(origin, model, normalise(part, needs))
        choice = self._choice(key, part, now_ms)
        if exclude:
            result = choice.excluding(exclude)
            if isinstance(result, Shed):
                query = self._query(key, part)
                result = after_losses(query, exclude) or with_fallbacks(query, choice, exclude, now_ms=now_ms)
            return result
        if self._verdicts.due and (probe := self._probe(key, part, now_ms)) is not None:
            self.choices.count(origin).offered += 1
            return probe
        result = choice.next() if session is None else choice.for_session(session)
        if choice.empty:
            result = with_fallbacks(self._query(key, part), choice, (), now_ms=now_ms)
            # The choice has counted it as shed; whether it is shows when its fallbacks were tried
            # (``Router.turned_away``).
            self.choices.count(origin).shed -= bool(result.fallbacks)
            if result.retry_after_ms is not None:
                # Its time counts from when it was compiled: compile it anew next time.
                self.choices.drop(key)
        return result

    def holder(self, pool: str, model: str, *, exclude: Collection[str], origin: str) -> Route | Shed:
        """The pool that holds what a request refers to, or one that shares its endpoint and credential:
        weights don't matter. The holder comes first, and also when all of them are out, as there is no
        other."""
        part = None if self.table is None else self.table.parts.get(origin)
        if part is None:
            return self._nowhere(origin)
        rows = [
            row
            for row in sharing_state(part, pool, model, out_of=self._verdicts.out_of)
            if row.info.pool not in exclude
        ]
        count = self.choices.count(origin)
        count.offered += not exclude
        if not rows:
            count.shed += not exclude
            return Shed(Reason.NO_POOL, f"{pool} can't be asked, and no other pool shares its state")
        row = next((row for row in rows if row.out is None), rows[0])
        return Route(self._target(row, model, origin), Reason.HELD)

    def shares(self, model: str, origin: str, now_ms: int) -> Shares:
        """How requests are to be divided that somebody else sends; nothing is counted."""
        part = None if self.table is None else self.table.parts.get(origin)
        if part is None:
            return Shares((), shed_ppm=MILLION, shed=self._no_part(origin))
        key = ChoiceKey(origin, model, None)
        choice = self._choice(key, part, now_ms)
        infos = (info for info, _ in weighted(part, part.route.split)) if self._verdicts.due else ()
        due = frozenset(info.pool for info in infos if self._verdicts.awaits(info.pool, model))
        former = self._shares.get(key)
        if former is not None and former[0] is choice and former[1] == due:
            return former[2]  # whatever else they depend on makes another choice when it changes
        shares = shares_of(part, choice, model, out_of=self._verdicts.out_of, due=due)
        self._shares[key] = (choice, due, shares)
        return shares

    def target(self, pool: str, model: str, origin: str) -> Target | None:
        """The pool as a target, whatever its weight; None when the origin's route doesn't list it, or the
        pool doesn't offer the model."""
        part = None if self.table is None else self.table.parts.get(origin)
        infos = () if part is None else (info for info in part.pools if info.pool == pool)
        rows = candidates(((info, 0) for info in infos), model, None, out_of=self._verdicts.out_of)
        return self._target(rows[0], model, origin) if rows else None

    def apply(self, table: ClientTable, now_ms: int) -> None:
        """Swap the table. Ejections stay, except those of pools whose address or credential has changed."""
        before, self.table = self.table, table
        self._shares.clear()
        self._verdicts.swap({} if before is None else before.addresses(), table.addresses())
        self.choices.forget()
        self.refresh(now_ms)

    def refresh(self, now_ms: int) -> None:
        """After any change. While a pool awaits the request that finds out, every pick takes the long way."""
        self._verdicts.refresh(now_ms)
        if self._verdicts.due:
            self.choices.plain.clear()

    def _nowhere(self, origin: str) -> Shed:
        count = self.choices.count(origin)
        count.offered += 1
        count.shed += 1
        return self._no_part(origin)

    def _no_part(self, origin: str) -> Shed:
        if self.table is None:
            text = "no route table has been received yet, and there is no last good one"
            return Shed(Reason.NO_TABLE, f"{text}: {self.why_no_table}")
        text = f"this client follows no route {self._workload}/{origin}: name the origin in its `origins=`"
        return Shed(Reason.NO_ROUTE, text)

    def _choice(self, key: ChoiceKey, part: Slice, now_ms: int) -> Choice:
        choice = self.choices.get(key)
        if choice is None:
            assert self.table is not None
            choice, affinity = compile_choice(
                part,
                key.model,
                key.needs,
                generation=self.table.generation,
                out_of=self._verdicts.out_of,
                returning=self._verdicts.returning(),
                turned_away=self._verdicts.turned_away(),
                slow=self._verdicts.slowness.shares(key.model),
                report=self._report,
                phase=self.choices.phase(key, self._phase),
                affinity=self.choices.affinity(key),
                now_ms=now_ms,
            )
            self.choices.put(key, choice, affinity)
        is_plain = key.origin == self._origin and key.needs is None and not choice.empty
        if is_plain and not (self._verdicts.due and awaits_trial(part, key.model, self._verdicts.awaits)):
            self.choices.plain[key.model] = choice
        return choice

    def _query(self, key: ChoiceKey, part: Slice) -> PoolQuery:
        return PoolQuery(
            part=part,
            model=key.model,
            needs=key.needs,
            out_of=self._verdicts.out_of,
            target_of=lambda row: self._target(row, key.model, key.origin),
            phase=self._phase,
        )

    def _target(self, row: Candidate, model: str, origin: str) -> Target:
        assert self.table is not None
        return target_of(row, model, origin, generation=str(self.table.generation), report=self._report)

    def _probe(self, key: ChoiceKey, part: Slice, now_ms: int) -> Route | None:
        """The request that finds out whether a pool whose time is over is back, if this one may go there."""
        pools = weighted(part, part.route.split)
        for row in candidates(pools, key.model, key.needs, out_of=lambda _pool, _model: None):
            if not self._verdicts.trial(row.info.pool, key.model, now_ms):
                continue
            self.refresh(now_ms)
            return Route(self._target(row, key.model, key.origin), Reason.HALF_OPEN)
        return None
