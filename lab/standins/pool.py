"""One pool's state and its verdict on each request, without I/O."""

import hmac
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lab.standins.config import PoolConfig
from lab.standins.faults import PREEMPTING_KINDS, STATUS_KINDS, FaultBook, FaultOrder
from lab.standins.load import LoadMeter, Timing, TokenBucket, timing
from lab.standins.wire import ChatRequest, error_body

Outcome: TypeAlias = Literal[
    "ok", "throttled", "client_error", "auth", "not_found", "fault", "aborted", "stopped"
]  # fmt: skip
THROTTLE_DEFAULT_MS = 1_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error. ``outcome`` is for the log, ``message`` and ``code`` are for the caller."""

    status: int
    outcome: Outcome
    message: str
    code: str
    retry_after_ms: float | None = None

    def body(self) -> bytes:
        """The error in OpenAI's form."""
        return error_body(self.message, self.code, status=self.status)

    def headers(self) -> dict[str, str]:
        """``retry-after-ms`` in milliseconds, ``Retry-After`` in whole seconds, rounded up."""
        if self.retry_after_ms is None:
            return {}
        whole_ms = math.ceil(self.retry_after_ms)
        return {"retry-after-ms": str(whole_ms), "Retry-After": str(math.ceil(whole_ms / 1_000))}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a request.

    ``admitted``: its tokens count as load. ``refusal``: the error that answers it. ``fault``: the fault that
    strikes it, or spoils its answer. ``timing``: how long its answer takes.
    """

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
    """The error answer of a fault whose kind is a status code."""
    message, code = _FAULT_ANSWERS[order.kind]
    retry_after_ms: float | None = order.retry_after_ms
    if order.kind == "429" and retry_after_ms is None:
        retry_after_ms = THROTTLE_DEFAULT_MS
    return Refusal(int(order.kind), "fault", message, code=code, retry_after_ms=retry_after_ms)


class Pool:
    """Capacity, load and counts of one pool. Instants are monotonic milliseconds."""

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
        """Whether the caller sent the key, as a Bearer token or in Azure's header ``api-key``."""
        if self.config.bearer_key is None:
            return True
        expected = self.config.bearer_key.encode()
        key = headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(key.encode("utf-8", "surrogateescape"), expected)

    def utilisation(self, now_ms: float) -> float:
        """Admitted load over capacity; 1 for a pool without capacity."""
        capacity = self.bucket.tokens_per_s
        return self.meter.tokens_per_s(now_ms) / capacity if capacity > 0 else 1.0

    def judge(
        self, chat: ChatRequest, request_id: str, headers: Mapping[str, str], faults: FaultBook, now_ms: float
    ) -> Verdict:
        """First the faults that strike before the service, then key and model, and capacity last.

        Whether a fault with a share strikes is drawn for each arrival, so a second try of the same request
        may be spared.
        """
        fault = faults.meets(self.id, chat.model, f"{request_id}|{self.id}|{self.arrived}")
        if fault is not None and fault.kind in PREEMPTING_KINDS:
            refusal = refusal_of_fault(fault) if fault.kind in STATUS_KINDS else None
            return Verdict(admitted=False, refusal=refusal, fault=fault)
        refusal = self._refusal(chat, headers, now_ms)
        if refusal is not None:
            return Verdict(admitted=False, refusal=refusal)
        utilisation = self.utilisation(now_ms)
        self.meter.add(chat.tokens, now_ms)
        key = f"{self.id}|{request_id}"
        times = timing(self.config.latency, key, seed=faults.seed, utilisation=utilisation)
        return Verdict(admitted=True, fault=fault, timing=times)

    def _refusal(self, chat: ChatRequest, headers: Mapping[str, str], now_ms: float) -> Refusal | None:
        if not self.authorised(headers):
            return Refusal(401, "auth", "Incorrect API key provided.", code="invalid_api_key")
        if chat.model not in self.config.models:
            message = f"The model `{chat.model}` does not exist or you do not have access to it."
            return Refusal(404, "not_found", message, code="model_not_found")
        if self.concurrency_max is not None and self.in_flight >= self.concurrency_max:
            message = f"Too many concurrent requests: the limit is {self.concurrency_max}."
            return _throttled(message, THROTTLE_DEFAULT_MS)
        wait_ms = self.bucket.take(chat.tokens, now_ms)
        if wait_ms > 0:
            message = (
                f"Rate limit reached: {chat.tokens} tokens asked for, limit {self.bucket.tokens_per_s:g}/s."
            )
            return _throttled(message, wait_ms)
        return None


def _throttled(message: str, retry_after_ms: float) -> Refusal:
    return Refusal(429, "throttled", message, code="rate_limit_exceeded", retry_after_ms=retry_after_ms)
