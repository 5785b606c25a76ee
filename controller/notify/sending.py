"""One HTTP request to a target, and what its answer means: taken, to be tried again, or refused for good."""

import asyncio
from typing import Literal, NamedTuple

import aiohttp

from controller.notify.shapes import Outgoing
from controller.process.retry_after import wait_asked_s

REFUSED = frozenset((400, 405, 406, 409, 411, 413, 415, 422))  # the same request would be refused again


class Outcome(NamedTuple):
    """``taken``, ``again`` or ``refused``; ``why`` it was not taken; ``retry_after_s``: how long the target
    wants to be left alone."""

    what: Literal["taken", "again", "refused"]
    why: str = ""
    retry_after_s: float = 0.0


async def send(
    session: aiohttp.ClientSession, request: Outgoing, *, timeout_s: float, proxy: str, now_ms: int
) -> Outcome:
    """Sends one request. Redirects are not followed, so that no secret goes elsewhere."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            session.post(
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                proxy=proxy or None,
            ) as answer,
        ):
            if 200 <= answer.status < 300:
                return Outcome("taken")
            why = f"HTTP {answer.status}"  # the body may repeat the address, which may be a secret
            if answer.status in REFUSED:
                return Outcome("refused", why)
            return Outcome(
                "again", why, retry_after_s=wait_asked_s(answer.headers.get("Retry-After", ""), now_ms)
            )
    except TimeoutError:
        return Outcome("again", f"no answer within {timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The text of these errors may hold the address, which may be a secret.
        return Outcome("again", type(error).__name__)
