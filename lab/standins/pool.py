"""One pool's state and its verdict on each request. No I/O: the journal and the sockets are elsewhere."""

import hmac
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lab.standins.bucket import LoadMeter, TokenBucket
from lab.standins.config import PoolConfig
from lab.standins.faults import PREEMPTING_KINDS, STATUS_KINDS, FaultBook, FaultOrder
from lab.standins.latency import Timing, timing
from lab.standins.wire import Ask, error_body

Outcome: TypeAlias = Literal[
    "ok", "throttled", "client_error", "auth", "not_found", "fault", "aborted", "stopped"
]  # fmt: skip
THROTTLE_DEFAULT_MS = 1_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error: status, what the log calls it, and what the caller reads."""

    status: int
    outcome: Outcome
    message: str
    code: str
    retry_after_ms: float | None = None

    def body(self) -> bytes:
        return error_body(self.message, self.code, status=self.status)

    def headers(self) -> dict[str, str]:
        """``retry-after-ms`` is exact, ``Retry-After`` whole seconds, rounded up."""
        if self.retry_after_ms is None:
            return {}
        whole_ms = math.ceil(self.retry_after_ms)
        return {"retry-after-ms": str(whole_ms), "Retry-After": str(math.ceil(whole_ms / 1_000))}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a request: admitted or not, refused or not, and the fault that it meets, if any."""

    admitted: bool
    refusal: Refusal | None = None
    fault: FaultOrder | None = None
    timing: Timing = field(default_factory=lambda: Timing(0.0, 0.0))


_FAULT_ANSWERS: dict[str, tuple[str, str]] = {
    "503": ("The service is temporarily unavailable.", "service_unavailable"),
    "429": ("Rate limit reached; please retry later.", "rate_limit_exceeded"),
    "400": ("The request was rejected as invalid.", "invalid_request"),
    "401": ("Incorrect API key provided.", "invalid_api_key"),
    "404": ("The model does not exist or you do not have access to it.", "model_not_found"),
}


def refusal_of_fault(order: FaultOrder) -> Refusal:
    """The error answer of a fault that is a status code."""
    message, code = _FAULT_ANSWERS[order.kind]
    retry_after_ms: float | None = order.retry_after_ms
    if order.kind == "429" and retry_after_ms is None:
        retry_after_ms = THROTTLE_DEFAULT_MS
    return Refusal(int(order.kind), "fault", message, code, retry_after_ms)


class Pool:
    """Capacity, load and counts of one pool. Times are monotonic milliseconds."""

    def __init__(self, pool_id: str, config: PoolConfig, now_ms: float) -> None:
        self.id = pool_id
        self.config = config
        self.bucket = TokenBucket(config.tokens_per_s, config.burst_s, now_ms)
        self.meter = LoadMeter(now_ms)
        self.concurrency_max = config.concurrency_max
        self.in_flight = 0
        self.arrived = 0
        self.outcomes: Counter[str] = Counter()

    def authorised(self, headers: Mapping[str, str]) -> bool:
        """Whether the caller showed the key, as Bearer token or in Azure's ``api-key`` header."""
        if self.config.bearer_key is None:
            return True
        wanted = self.config.bearer_key.encode()
        shown = headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), wanted)

    def utilisation(self, now_ms: float) -> float:
        """Admitted load over capacity; 1 when there is no capacity at all."""
        capacity = self.bucket.tokens_per_s
        return self.meter.tokens_per_s(now_ms) / capacity if capacity > 0 else 1.0

    def judge(
        self, ask: Ask, request_id: str, headers: Mapping[str, str], faults: FaultBook, now_ms: float
    ) -> Verdict:
        """Faults that stand before the service first, then key, model, and capacity last.

        The share of a fault is drawn per arrival, so that a second try may fare otherwise than the first.
        """
        fault = faults.meets(self.id, ask.model, f"{request_id}|{self.id}|{self.arrived}")
        if fault is not None and fault.kind in PREEMPTING_KINDS:
            refusal = refusal_of_fault(fault) if fault.kind in STATUS_KINDS else None
            return Verdict(admitted=False, refusal=refusal, fault=fault)
        refusal = self._refusal(ask, headers, now_ms)
        if refusal is not None:
            return Verdict(admitted=False, refusal=refusal)
        used = self.utilisation(now_ms)
        self.meter.add(ask.tokens, now_ms)
        drawn = timing(self.config.latency, f"{self.id}|{request_id}", seed=faults.seed, utilisation=used)
        return Verdict(admitted=True, fault=fault, timing=drawn)

    def _refusal(self, ask: Ask, headers: Mapping[str, str], now_ms: float) -> Refusal | None:
        if not self.authorised(headers):
            return Refusal(401, "auth", "Incorrect API key provided.", "invalid_api_key")
        if ask.model not in self.config.models:
            message = f"The model `{ask.model}` does not exist or you do not have access to it."
            return Refusal(404, "not_found", message, "model_not_found")
        if self.concurrency_max is not None and self.in_flight >= self.concurrency_max:
            message = f"Too many concurrent requests: the limit is {self.concurrency_max}."
            return Refusal(429, "throttled", message, "rate_limit_exceeded", THROTTLE_DEFAULT_MS)
        wait_ms = self.bucket.take(ask.tokens, now_ms)
        if wait_ms > 0:
            message = (
                f"Rate limit reached: {ask.tokens} tokens asked for, limit {self.bucket.tokens_per_s:g}/s."
            )
            return Refusal(429, "throttled", message, "rate_limit_exceeded", wait_ms)
        return None
