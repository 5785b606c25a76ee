"""PURE. What pools have refused lately that says something about the next requests. Not thread-safe: its user
has a lock. Times are monotonic milliseconds.

- *Parameters*: a pool that does not support one, or a value of it, is asked last by requests that have it,
  for ten minutes.
- *Quotas*: some providers use codes such as ``insufficient_quota`` for a minute's limit, others for an
  account that has run dry. Only one that is said again and again, with no success between, is the account's.
"""

import re
from collections.abc import Collection

from msgspec import Struct

from tieline.events import ResultClass
from tieline.providers.answers import QUOTA_GONE, ProviderError, Reading, Topic

PARAMETER_MS = 600_000
PARAMETERS_MAX = 1_000
QUOTA_TIMES = 3
QUOTA_MS = 10_000
_QUOTED = re.compile(r"['\"`]([A-Za-z_][A-Za-z0-9_.\[\]]*)['\"`]")


class _Quota(Struct):
    code: str
    first_ms: int
    count: int = 0


class Refusals:
    """``is_empty``: nothing is remembered, so that nothing need be asked."""

    def __init__(self) -> None:
        self._parameters: dict[tuple[str, str, str], int] = {}  # -> until when
        self._quotas: dict[str, _Quota] = {}

    @property
    def is_empty(self) -> bool:
        """Whether every pool takes everything, as far as is known."""
        return not self._parameters and not self._quotas

    def take_in(self, pool: str, model: str, reading: Reading, error: ProviderError, now_ms: int) -> Reading:
        """Remember what an answer says about requests to come. Gives its reading, which becomes the account's
        where a quota has been used up for long."""
        match reading.topic:
            case Topic.PARAMETER:
                self.refuse_parameter(pool, model, error, now_ms)
            case Topic.BILLING if self.refuse_quota(pool, error.code, now_ms):
                return QUOTA_GONE
        if reading.result is ResultClass.OK:
            self.succeed(pool)
        return reading

    def refuse_parameter(self, pool: str, model: str, error: ProviderError, now_ms: int) -> None:
        """The pool refused a parameter of a request for this model."""
        name = parameter_of(error)
        if not name:
            return
        if len(self._parameters) >= PARAMETERS_MAX:
            self._parameters.clear()
        self._parameters[pool, model, name] = now_ms + PARAMETER_MS

    def refusing(self, model: str, fields: Collection[str], now_ms: int) -> set[str]:
        """Pools that are known to refuse one of these top-level fields of a request for this model."""
        for key in [key for key, until_ms in self._parameters.items() if until_ms <= now_ms]:
            del self._parameters[key]
        return {
            pool
            for pool, refused_model, name in self._parameters
            if refused_model == model and name in fields
        }

    def refuse_quota(self, pool: str, code: str, now_ms: int) -> bool:
        """The pool says that a quota is used up. Whether that has been said for long enough to be the
        account's: three times, over at least 10 s, with the same code and no success between."""
        quota = self._quotas.get(pool)
        if quota is None or quota.code != code:
            quota = self._quotas[pool] = _Quota(code, now_ms)
        quota.count += 1
        return quota.count >= QUOTA_TIMES and now_ms - quota.first_ms >= QUOTA_MS

    def succeed(self, pool: str) -> None:
        """The pool has served: its account is well."""
        self._quotas.pop(pool, None)


def parameter_of(error: ProviderError) -> str:
    """The top-level field that an error is about, by its ``param`` or the first name that its message quotes;
    "" if it names none."""
    quoted = _QUOTED.search(error.message)
    name = error.param or (quoted[1] if quoted is not None else "")
    return re.split(r"[.\[]", name)[0]
