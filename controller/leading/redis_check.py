"""Whether Redis can be used: one write and one read of this controller's own, and what a failure means."""

from typing import Any, NamedTuple

from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from controller.leading.fitness import FaultKind
from controller.leading.presence import Fault
from controller.process.certificates import certificate_fault
from controller.process.settings import REDIS
from tieline.keys import Keys
from tieline.redis_client import leave_former_primary, refusal_behind

KEPT_MS = 10_000
ERROR_TEXT_MAX = 200


class RedisFinding(NamedTuple):
    """``tables_run``: the run of the tables there; empty if there is none or it could not be read."""

    fault: Fault | None
    tables_run: str = ""


async def check_redis(redis: Any, keys: Keys, identity: str, place: str) -> RedisFinding:
    """Writes a key that expires by itself, and reads the run of the tables. ``place`` is the address without
    a password, for people. Never raises what Redis or the network raise."""
    try:
        await leave_former_primary(redis)
        await redis.set(keys.controller(identity), b"1", px=KEPT_MS)
        run: bytes | None = await redis.get(keys.table("run"))
    except ReadOnlyError as error:
        # Its connections lead to a server that was the primary once. The next may lead to the new primary.
        await redis.connection_pool.disconnect()
        return RedisFinding(redis_fault(error, place))
    except (RedisError, OSError, TimeoutError) as error:
        return RedisFinding(redis_fault(error, place))
    return RedisFinding(None, run.decode() if run else "")


def redis_fault(failure: Exception, place: str) -> Fault:
    """What a failure of Redis means for a person."""
    error = refusal_behind(failure)
    text = str(error)[:ERROR_TEXT_MAX] or type(error).__name__
    if isinstance(error, AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS")):
        return Fault(
            FaultKind.REDIS_PASSWORD,
            f"Redis at {place} refuses the user or the password: correct TIELINE_REDIS_USER and "
            "TIELINE_REDIS_PASSWORD or TIELINE_REDIS_PASSWORD_FILE",
        )
    if isinstance(error, NoPermissionError):
        return Fault(
            FaultKind.REDIS_PERMISSION,
            f"Redis at {place} does not permit this user what a controller needs ({text}): correct its ACL",
        )
    if isinstance(error, ReadOnlyError):
        return Fault(
            FaultKind.REDIS_READ_ONLY,
            f"Redis at {place} is a replica that takes no writes: point TIELINE_REDIS at the primary",
        )
    if isinstance(error, OutOfMemoryError):
        return Fault(
            FaultKind.REDIS_FULL,
            f"Redis at {place} is out of memory: raise its maxmemory, or remove what does not belong there",
        )
    if isinstance(error, ResponseError) and "DB index" in text:
        return Fault(
            FaultKind.REDIS_DATABASE,
            f"Redis at {place} has no database of this number: correct TIELINE_REDIS",
        )
    if isinstance(error, ResponseError):
        return Fault(FaultKind.REDIS_FULL, f"Redis at {place} refuses to write: {text}")
    if (fault := certificate_fault(failure, REDIS)) is not None:
        return Fault(FaultKind.REDIS_AWAY, f"TLS with Redis at {place} fails ({fault.why}): {fault.remedy}")
    return Fault(
        FaultKind.REDIS_AWAY,
        f"Redis at {place} can't be reached ({text}): start it, or correct TIELINE_REDIS",
    )
