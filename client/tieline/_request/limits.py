"""PURE. How long one attempt may take before it is given up.

Three voices are heard, and the longest of the pool's own two counts:

- *The table*: ``ClientSettings``, or the model's offer at the pool, says how long a pool may be silent before
  the first output of a stream, and how long a whole answer may take. A whole answer has no first token to
  wait for; where its offer does not say more it gets 50 ms more for each token that it may have.
- *What is usual* there for this model: three times that is no hang, whatever the table says.
- *The caller*, who may declare a time-out: ``deadline``, or the read time-out of its HTTP client. It is
  divided: while there is another pool to go to, a silent one gets half of what is left, and the last attempt
  gets the rest. It lengthens as well as it shortens, since a caller who says that it waits for ten minutes
  wants the answer, not a second one. So a stream's last attempt, and a whole answer that may take longer than
  10 s and so is not sent again blindly, have all that is left.

Bytes that are no output yet show that a stream lives. They restart the wait, within the attempt's whole time.
"""

from msgspec import Struct

from tieline.events import HEALTH_FAILURES, ResultClass
from tieline.table import ClientSettings, ModelOffer

WHOLE_ANSWER_MS_PER_TOKEN = 50
WHOLE_ANSWER_TOKENS_DEFAULT = 1_000
COSTLY_AFTER_MS = 10_000  # a whole answer that has taken so long is not thrown away lightly
UNSENT_MAX_MS = 1_000  # a connection that fails so soon has carried no request
USUAL_FACTOR = 3
# The openai SDK's own time-outs, which it sends where its user has set none.
SDK_READ_S = 600.0
SDK_CONNECT_S = 5.0


class Waiting(Struct, frozen=True):
    """How long an attempt may take. ``silence_ms``: without a byte, before a stream's first output.
    ``whole_ms``: until that output, or until the end of a whole answer. ``own_ms``: what ``silence_ms`` would
    be if the caller had declared nothing."""

    silence_ms: int
    whole_ms: int
    own_ms: int


class Resending:
    """How often one request may be sent again that may be under way, and billed, where it was sent: images,
    audio, video, and whole answers that were waited for for long. Once, and only when the pool shows that it
    has ended there: by an error, or by a connection that broke."""

    def __init__(self) -> None:
        self._count = 0

    def may(self, result: ResultClass, waited_ms: int, *, was_ended: bool) -> bool:
        """Whether it may be sent again after an attempt that ended so. ``was_ended``: the pool has answered,
        or the attempt was called back from one that stalls."""
        if result not in HEALTH_FAILURES:
            return True
        if result is ResultClass.TIMEOUT and not was_ended:
            return False
        # What could not be connected at all was never sent.
        self._count += result is not ResultClass.CONNECT or waited_ms > UNSENT_MAX_MS
        return self._count <= 1


def waiting_for_stream(
    settings: ClientSettings, offer: ModelOffer | None, usual_ms: float, *, left_ms: int, part_ms: int | None
) -> Waiting:
    """For the first output of a stream. ``usual_ms``: what first outputs take there, 0 if that is unknown.
    ``left_ms``: until the deadline. ``part_ms``: this attempt's share of a declared time-out, None without
    one."""
    stated_ms = offer.first_token_timeout_ms if offer is not None else 0
    own_ms = max(stated_ms or settings.first_token_timeout_ms, round(USUAL_FACTOR * usual_ms))
    if part_ms is None:
        return Waiting(min(own_ms, left_ms), left_ms, own_ms)
    silence_ms = left_ms if part_ms >= left_ms else min(own_ms, part_ms)
    return Waiting(silence_ms, part_ms, own_ms)


def waiting_for_whole(
    settings: ClientSettings,
    offer: ModelOffer | None,
    usual_ms: float,
    *,
    output_tokens_max: int | None,
    left_ms: int,
    part_ms: int | None,
    is_costly: bool = False,
) -> Waiting:
    """For a whole answer; the arguments are those of ``waiting_for_stream``. ``is_costly``: it has all the
    time until the deadline, unless the model's offer states how long such answers take."""
    own_ms = offer.whole_answer_timeout_ms if offer is not None else 0
    if is_costly and part_ms is None and own_ms == 0:
        part_ms = left_ms
    if own_ms == 0:
        tokens = output_tokens_max or WHOLE_ANSWER_TOKENS_DEFAULT
        first_token_ms = offer.first_token_timeout_ms if offer is not None else 0
        own_ms = (first_token_ms or settings.first_token_timeout_ms) + WHOLE_ANSWER_MS_PER_TOKEN * tokens
    own_ms = max(own_ms, round(USUAL_FACTOR * usual_ms))
    if part_ms is None:
        return Waiting(min(own_ms, left_ms), min(own_ms, left_ms), own_ms)
    whole_ms = left_ms if part_ms > COSTLY_AFTER_MS else part_ms
    return Waiting(whole_ms, whole_ms, own_ms)


def waiting_for_trial(waiting: Waiting, settings: ClientSettings, lately_ms: float) -> Waiting:
    """For the request that finds out whether a pool is back. ``lately_ms``: what took long there, 0 if that
    is unknown. Three times that is enough, so that a pool that still hangs costs its caller little; then the
    request moves on."""
    if lately_ms == 0:
        return waiting
    limit_ms = max(settings.first_token_timeout_ms, round(USUAL_FACTOR * lately_ms))
    return Waiting(min(waiting.silence_ms, limit_ms), min(waiting.whole_ms, limit_ms), waiting.own_ms)


def idle_ms(settings: ClientSettings, offer: ModelOffer | None, timeout_s: float | None) -> int:
    """How long a stream may be silent after its first output. ``timeout_s``: the read time-out of the
    caller's HTTP client, which is just that; None if it declared none."""
    if timeout_s is not None:
        return max(1, round(timeout_s * 1_000))
    return (offer.idle_timeout_ms if offer is not None else 0) or settings.idle_timeout_ms


def declared_s(read_s: float | None, connect_s: float | None) -> float | None:
    """The read time-out that a caller has declared; None for what its SDK sends by itself."""
    return None if read_s == SDK_READ_S and connect_s == SDK_CONNECT_S else read_s
