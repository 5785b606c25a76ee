"""One pool's state and its verdict on each request, without I/O."""

import hmac
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lab.standins.config import PoolConfig
from lab.standins.faults import PREEMPTING_KINDS, STATUS_KINDS, Arrival, FaultBook, FaultOrder
from lab.standins.load import LoadMeter, Timing, TokenBucket, timing
from lab.standins.wire import ModelRequest, error_body

Outcome: TypeAlias = Literal[
    "ok", "throttled", "client_error", "auth", "not_found", "fault", "aborted", "stopped"
]  # fmt: skip
THROTTLE_DEFAULT_MS = 1_000
KEPT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error. ``outcome`` is for the log, ``message`` and ``code`` are for the caller."""

    status: int
    outcome: Outcome
    message: str
    code: str
    retry_after_ms: float | None = None
    more_headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The error in OpenAI's form."""
        return error_body(self.message, self.code, status=self.status)

    def headers(self) -> dict[str, str]:
        """``retry-after-ms`` in milliseconds, ``Retry-After`` in whole seconds, rounded up; and those that
        were ordered."""
        if self.retry_after_ms is None:
            return dict(self.more_headers)
        whole_ms = math.ceil(self.retry_after_ms)
        waits = {"retry-after-ms": str(whole_ms), "Retry-After": str(math.ceil(whole_ms / 1_000))}
        return {**waits, **self.more_headers}


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


_FAULT_ANSWERS: dict[int, tuple[str, str]] = {
    503: ("The service is temporarily unavailable.", "service_unavailable"),
    429: ("Rate limit reached; please retry later.", "rate_limit_exceeded"),
    400: ("The request was rejected as invalid.", "invalid_request"),
    401: ("Incorrect API key provided.", "invalid_api_key"),
    404: ("The model does not exist or you do not have access to it.", "model_not_found"),
}
_OTHER_STATUS = ("The request could not be served.", "x")
_STATUS_OF_KIND = {"burst": 429, "token_revoked": 401}


def refusal_of_fault(order: FaultOrder) -> Refusal:
    """The error answer of a fault that is a status."""
    status = order.status or _STATUS_OF_KIND.get(order.kind) or int(order.kind)
    message, code = _FAULT_ANSWERS.get(status, _OTHER_STATUS) if order.kind != "status" else _OTHER_STATUS
    retry_after_ms: float | None = order.retry_after_ms
    if order.kind in ("429", "burst") and retry_after_ms is None:
        retry_after_ms = THROTTLE_DEFAULT_MS
    return Refusal(
        status=status,
        outcome="fault",
        message=order.message or message,
        code=order.error_code or code,
        retry_after_ms=retry_after_ms,
        more_headers=order.headers or {},
    )


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
        self.kept: dict[str, bytes] = {}  # answers that can be asked for again, by their ids
        self._revoked: tuple[FaultOrder, str] | None = None
        self._burst: tuple[FaultOrder, TokenBucket] | None = None

    def authorised(self, headers: Mapping[str, str]) -> bool:
        """Whether the caller sent the key, as a Bearer token or in Azure's header ``api-key``."""
        if self.config.bearer_key is None:
            return True
        expected = self.config.bearer_key.encode()
        return hmac.compare_digest(_secret(headers).encode("utf-8", "surrogateescape"), expected)

    def rate_limits(self, now_ms: float) -> dict[str, str]:
        """The headers by which a provider tells how much room is left, in the shape that was configured."""
        shape = self.config.rate_limit_headers
        if shape is None:
            return {}
        left = self.bucket.left(now_ms)
        values = {"x-ratelimit-remaining-tokens": str(max(0, math.floor(left)))}
        if self.concurrency_max is not None:
            values["x-ratelimit-remaining-requests"] = str(max(0, self.concurrency_max - self.in_flight))
        if shape == "openai" and self.bucket.tokens_per_s > 0:
            full_ms = (self.bucket.burst_tokens - left) / self.bucket.tokens_per_s * 1_000
            values["x-ratelimit-limit-tokens"] = str(math.floor(self.bucket.burst_tokens))
            values["x-ratelimit-reset-tokens"] = f"{math.ceil(full_ms)}ms"
        return values

    def keep(self, answer_id: str, body: bytes) -> None:
        """Remember an answer, at most the last thousand."""
        self.kept[answer_id] = body
        if len(self.kept) > KEPT_MAX:
            del self.kept[next(iter(self.kept))]

    def utilisation(self, now_ms: float) -> float:
        """Admitted load over capacity; 1 for a pool without capacity."""
        capacity = self.bucket.tokens_per_s
        return self.meter.tokens_per_s(now_ms) / capacity if capacity > 0 else 1.0

    def judge(
        self,
        request: ModelRequest,
        arrival: Arrival,
        headers: Mapping[str, str],
        *,
        faults: FaultBook,
        now_ms: float,
    ) -> Verdict:
        """First the faults that strike before the service, then key and model, and capacity last.

        Whether a fault with a share strikes is drawn for each arrival, so a second try of the same request
        may be spared.
        """
        refused = self.judge_lookup(arrival, headers, faults, now_ms)
        if refused is not None:
            return refused
        refusal = self._refusal(request, now_ms)
        if refusal is not None:
            return Verdict(admitted=False, refusal=refusal)
        fault = self._fault(arrival, faults)
        if fault is not None and fault.kind in PREEMPTING_KINDS:
            fault = None  # one that spared this request
        utilisation = self.utilisation(now_ms)
        self.meter.add(request.tokens, now_ms)
        times = timing(self.config.latency, arrival.key, seed=faults.seed, utilisation=utilisation)
        return Verdict(admitted=True, fault=fault, timing=times)

    def judge_lookup(
        self, arrival: Arrival, headers: Mapping[str, str], faults: FaultBook, now_ms: float
    ) -> Verdict | None:
        """The fault that strikes before the service, or the refusal of a secret; None if there is neither.
        This is all that is asked of a request that uses no capacity."""
        fault = self._fault(arrival, faults)
        if fault is not None and fault.kind in PREEMPTING_KINDS and self._strikes(fault, headers, now_ms):
            refusal = refusal_of_fault(fault) if fault.kind in STATUS_KINDS else None
            return Verdict(admitted=False, refusal=refusal, fault=fault)
        if not self.authorised(headers):
            refusal = Refusal(401, "auth", "Incorrect API key provided.", code="invalid_api_key")
            return Verdict(admitted=False, refusal=refusal)
        return None

    def _fault(self, arrival: Arrival, faults: FaultBook) -> FaultOrder | None:
        return faults.meets(arrival._replace(key=f"{arrival.key}|{self.arrived}"))

    def _strikes(self, fault: FaultOrder, headers: Mapping[str, str], now_ms: float) -> bool:
        """Whether a fault that remembers earlier requests strikes this one; the others always do."""
        if fault.kind == "token_revoked":
            if self._revoked is None or self._revoked[0] is not fault:
                self._revoked = (fault, _secret(headers))
            return _secret(headers) == self._revoked[1]
        if fault.kind == "burst":
            if self._burst is None or self._burst[0] is not fault:
                self._burst = (fault, TokenBucket(fault.requests_per_s or 0.0, 1.0, now_ms))
            return self._burst[1].take(1, now_ms) > 0
        return True

    def _refusal(self, request: ModelRequest, now_ms: float) -> Refusal | None:
        if request.model and request.model not in self.config.models:
            message = f"The model `{request.model}` does not exist or you do not have access to it."
            return Refusal(404, "not_found", message, code="model_not_found")
        if self.concurrency_max is not None and self.in_flight >= self.concurrency_max:
            message = f"Too many concurrent requests: the limit is {self.concurrency_max}."
            return _throttled(message, THROTTLE_DEFAULT_MS)
        wait_ms = self.bucket.take(request.tokens, now_ms)
        if wait_ms > 0:
            limit = self.bucket.tokens_per_s
            message = f"Rate limit reached: {request.tokens} tokens asked for, limit {limit:g}/s."
            return _throttled(message, wait_ms)
        return None


def _secret(headers: Mapping[str, str]) -> str:
    return headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def _throttled(message: str, retry_after_ms: float) -> Refusal:
    return Refusal(429, "throttled", message, code="rate_limit_exceeded", retry_after_ms=retry_after_ms)
