"""PURE. Whom the end of an attempt speaks about. Its result class says what is counted; the blame says who
must change for it to end better, and so whether a pool is left for it.

    blame     who must change                                       the pool
    --------  ----------------------------------------------------  -----------------------------------
    nobody    it ended well                                         is well
    caller    the caller: it can't be served as it was asked        unmarked
    request   nobody: this pool does not serve this one request     unmarked, unless nothing else comes
    model     the pool: it lacks one model                          left for that model
    pool      the pool: its health, or its load                     counted, left when it fails often
    account   whoever owns the credential or pays the bill          left
    moment    nobody: a conflict passes by itself                   unmarked
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from tieline.events import ResultClass


class Blame(StrEnum):
    """Whom the end of an attempt speaks about."""

    NOBODY = "nobody"
    CALLER = "caller"
    REQUEST = "request"
    MODEL = "model"
    POOL = "pool"
    ACCOUNT = "account"
    MOMENT = "moment"


UNMARKED: Final = frozenset({Blame.CALLER, Blame.REQUEST, Blame.MOMENT})
# Where nobody has read the answer: the class alone decides.
BLAME_OF_RESULT: Final[Mapping[ResultClass, Blame]] = {
    ResultClass.OK: Blame.NOBODY,
    ResultClass.THROTTLED: Blame.POOL,
    ResultClass.SERVER_ERROR: Blame.POOL,
    ResultClass.TIMEOUT: Blame.POOL,
    ResultClass.CONNECT: Blame.POOL,
    ResultClass.AUTH: Blame.ACCOUNT,
    ResultClass.NOT_FOUND: Blame.MODEL,
    ResultClass.CLIENT_ERROR: Blame.CALLER,
    ResultClass.CUT: Blame.POOL,
}
