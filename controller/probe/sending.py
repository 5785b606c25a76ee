"""Sends one probe of a pool with the pool's secret, and notes how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import httpx2
import structlog

from controller.probe.pool_probes import PoolProbes, SentProbe
from controller.probe.request import ProbeTarget, probe
from controller.probe.turns import Ask
from tieline.credentials import Credentials, MissingCredentialError
from tieline.events import ResultClass
from tieline.providers import Header

_log = structlog.get_logger("tieline.probe")


class Sender(NamedTuple):
    """What every probe is sent with. ``monotonic_ms``: a clock in milliseconds."""

    http: httpx2.AsyncClient
    credentials: Credentials
    monotonic_ms: Callable[[], int]
    timeout_ms: int

    async def send(self, pool: PoolProbes, ask: Ask) -> SentProbe | None:
        """Sends one probe. None if it could not be sent, or says nothing of the pool. What it gives is noted
        by ``PoolProbes.end``."""
        target = pool.target(ask)
        try:
            auth, secret = await self._auth(pool, target)
        except MissingCredentialError as error:
            _log.warning("no probe sent", pool=pool.pool, reason=str(error))
            return None
        asked_ms = self.monotonic_ms()
        number = pool.watch.begin(asked_ms)
        try:
            end = await probe(
                self.http,
                target,
                auth,
                ask.kind,
                timeout_s=self.timeout_ms / 1_000,
                monotonic_ms=self.monotonic_ms,
            )
        except BaseException:
            pool.watch.forget(number)
            raise
        if end.refuses_limit:
            pool.watch.forget(number)
            pool.limit_otherwise(ask)
            return None
        if end.result is ResultClass.AUTH and target.credential:
            self.credentials.forget(target.credential, secret)
        return SentProbe(ask, number, end, asked_ms=asked_ms, ended_ms=self.monotonic_ms())

    async def _auth(self, pool: PoolProbes, target: ProbeTarget) -> tuple[Header | None, str]:
        """(the header with the pool's secret, the secret), (None, "") for a pool without one. A wait for one
        is no probe: the pool is not asked meanwhile, and no second call is begun. Raises
        MissingCredentialError."""
        if not target.credential:
            return None, ""
        pool.is_awaiting_secret = True
        try:
            secret, is_token, _ = await self.credentials.get(target.credential)
        finally:
            pool.is_awaiting_secret = False
        assert isinstance(secret, str), "a prober has strings only"
        return target.auth(secret, is_token=is_token), secret
