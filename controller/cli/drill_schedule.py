"""`tieline drill --schedule CRON`: begins a drill whenever it is time. It runs until a signal ends it.

Nothing is caught up: a drill whose time came while this was not running does not take place. A drill that
can't be begun is told, and the next one is waited for.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

from aiokafka.errors import KafkaError
from cronsim import CronSim, CronSimError
from redis.exceptions import RedisError

from controller.cli.agreement import say
from controller.process.clock import now_ms
from controller.process.errors import TopicMissingError, UserError
from controller.status.words import utc

SLEEP_S_MAX = 60.0  # the clock is asked again after so long, as it may be set meanwhile


class Schedule:
    """The instants of five fields in UTC: minute, hour, day of the month, month, day of the week."""

    def __init__(self, text: str) -> None:
        self.text = text

    def next_ms(self, after_ms: int) -> int:
        """The first instant after this one."""
        instants: Iterator[datetime] = CronSim(self.text, datetime.fromtimestamp(after_ms / 1_000, UTC))
        return round(next(instants).timestamp() * 1_000)


def schedule_of(text: str) -> Schedule:
    """The schedule as it was typed. Raises ``UserError``."""
    if len(text.split()) != 5:
        raise UserError(
            f"--schedule {text!r}: give five fields, such as '0 10 * * 3' (Wednesdays, 10:00 UTC)"
        )
    try:
        schedule = Schedule(text)
        schedule.next_ms(now_ms())
    except (CronSimError, StopIteration) as error:
        why = f": {error}" if str(error) else ""
        raise UserError(f"--schedule {text!r} is no time that comes{why}") from None
    return schedule


async def keep_schedule(schedule: Schedule, begin: Callable[[], Awaitable[int]]) -> None:
    """Calls ``begin`` at each instant of the schedule, until SIGTERM or SIGINT. A drill that runs goes on
    without this."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    while not ending.is_set():
        due_ms = schedule.next_ms(now_ms())
        say(f"the next drill is due at {utc(due_ms)}")
        if not await _reached(due_ms, ending):
            return
        drill = asyncio.ensure_future(_begun(begin))
        end = asyncio.ensure_future(ending.wait())
        await asyncio.wait((drill, end), return_when=asyncio.FIRST_COMPLETED)
        for task in (drill, end):
            task.cancel()
        await asyncio.gather(drill, end, return_exceptions=True)


async def _reached(due_ms: int, ending: asyncio.Event) -> bool:
    """Waits until the instant; False if the end came first."""
    while (left_s := (due_ms - now_ms()) / 1_000) > 0:
        try:
            async with asyncio.timeout(min(left_s, SLEEP_S_MAX)):
                await ending.wait()
        except TimeoutError:
            continue
        return False
    return True


async def _begun(begin: Callable[[], Awaitable[int]]) -> None:
    try:
        status = await begin()
    except (UserError, TopicMissingError, KafkaError, RedisError, OSError, TimeoutError) as error:
        say(f"the drill did not begin: {error or type(error).__name__}")
    else:
        say(f"the drill ended with the status {status}")
