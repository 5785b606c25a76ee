"""What is to be sent to one target, and when: selection, repeats, rate, and a bounded queue. Pure.

``take`` takes entries in, ``due`` gives the next notification, ``done`` says that it is dealt with. Instants
are milliseconds of a steady clock.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from typing import NamedTuple

from controller.history.entries import Entry, Selection, is_of_kind
from controller.notify.target import Target

MINUTE_MS = 60_000
KEYS_KEPT_MAX = 10_000
NAMED_KINDS_MAX = 6


class Notification(NamedTuple):
    """One entry to send. ``offset``: of its record, None for what came from no record. ``not_before_ms``:
    when it may be sent. ``is_repeat``: it waits because the same condition was told not long ago."""

    entry: Entry
    offset: int | None
    not_before_ms: int = 0
    is_repeat: bool = False

    @property
    def is_critical(self) -> bool:
        """Whether it is told at once, however many there are."""
        return self.entry.severity == "critical"

    @property
    def may_be_left_out(self) -> bool:
        """Not what is critical, and not the end of something whose beginning the target knows."""
        return not self.is_critical and self.entry.phase != "ends"


class ToldLast(NamedTuple):
    """What was queued last under a key: its phase, and when the condition was last told to begin."""

    phase: str
    begun_ms: int


class Outbox:
    """The notifications of one target that wait.

    ``left_out`` counts by kind what the target was not told, and ``repeated`` counts what it knew. All
    records before ``next_offset`` were taken in. ``standing``: what stands of what the target wants.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._selection = Selection(target.scopes, workloads=target.workloads)
        self._waiting: deque[Notification] = deque()
        self._in_flight: Notification | None = None
        self._sent_ms: deque[int] = deque()
        self._told: OrderedDict[str, ToldLast] = OrderedDict()
        self._unsaid: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.repeated = 0
        self.next_offset = 0
        self.standing: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._waiting) + (self._in_flight is not None)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be read: as many wait as may, and none of them may be left out."""
        is_long = len(self._waiting) >= self._target.waiting_max
        return is_long and not any(waiting.may_be_left_out for waiting in self._waiting)

    @property
    def finished_offset(self) -> int:
        """All records before it are dealt with."""
        notifications = [*self._waiting, *([self._in_flight] if self._in_flight else [])]
        offsets = [waiting.offset for waiting in notifications if waiting.offset is not None]
        return min([*offsets, self.next_offset])

    def begin(self, standing: Iterable[Entry], next_offset: int) -> None:
        """Begins at an offset. ``standing``: what stands there. The target is not told of it again, but of
        its end."""
        self.next_offset = next_offset
        for entry in standing:
            if self._is_wanted(entry):
                self.standing[entry.key] = entry
                self._told[entry.key] = ToldLast("begins", -self._repeat_after_ms)

    def take(self, entry: Entry, offset: int, now_ms: int) -> None:
        """One more entry of the record at ``offset``."""
        if not self._is_wanted(entry):
            return
        if entry.phase == "begins":
            self.standing[entry.key] = entry
            self._take_beginning(entry, offset, now_ms)
        elif entry.phase == "ends":
            self.standing.pop(entry.key, None)
            self._take_end(entry, offset)
        elif entry.key in self._told:
            self.repeated += 1
        else:
            self._queue(Notification(entry, offset), ToldLast("", now_ms))
        self._keep_bounded()

    def due(self, now_ms: int, wall_ms: int) -> Notification | None:
        """The next notification to send; None while nothing is due. ``done`` must follow.

        What is beyond the target's rate is left out, and told as one line once there is room again.
        """
        while self._sent_ms and self._sent_ms[0] <= now_ms - MINUTE_MS:
            self._sent_ms.popleft()
        has_room = len(self._sent_ms) < self._target.per_minute
        if has_room and self._unsaid:
            return self._send(Notification(self._summary(wall_ms), None), now_ms)
        for waiting in tuple(self._waiting):
            if waiting.not_before_ms > now_ms:
                continue
            if has_room or waiting.is_critical:
                self._waiting.remove(waiting)
                return self._send(waiting, now_ms)
            if waiting.may_be_left_out:
                self._leave_out(waiting)
        return None

    def done(self) -> None:
        """The notification that was due last was sent, or given up."""
        self._in_flight = None

    @property
    def _repeat_after_ms(self) -> int:
        return self._target.repeat_after_s * 1_000

    def _is_wanted(self, entry: Entry) -> bool:
        return self._target.wants(entry) and self._selection.takes(entry)

    def _take_beginning(self, entry: Entry, offset: int, now_ms: int) -> None:
        last = self._told.get(entry.key)
        if last is not None and last.phase == "begins":
            self.repeated += 1
            return
        again_ms = last.begun_ms + self._repeat_after_ms if last is not None else now_ms
        is_repeat = again_ms > now_ms and entry.severity != "critical"
        at_ms = again_ms if is_repeat else now_ms
        self._queue(Notification(entry, offset, at_ms, is_repeat=is_repeat), ToldLast("begins", at_ms))

    def _take_end(self, entry: Entry, offset: int) -> None:
        last = self._told.get(entry.key)
        if last is not None and last.phase == "begins":
            if not self._withdraw_repeat(entry.key, last):
                self._queue(Notification(entry, offset), ToldLast("ends", last.begun_ms))
        elif last is None and "expiry" in self._target.events and is_of_kind(entry, ("expiry",)):
            # Its beginning was not wanted, but whoever asks for expiries wants to know its end.
            self._queue(Notification(entry, offset), ToldLast("ends", 0))

    def _withdraw_repeat(self, key: str, last: ToldLast) -> bool:
        """Takes a beginning out of the queue that was not told yet because it comes and goes."""
        for waiting in self._waiting:
            if waiting.is_repeat and waiting.entry.key == key:
                self._waiting.remove(waiting)
                self._told[key] = ToldLast("ends", last.begun_ms - self._repeat_after_ms)
                self.repeated += 1
                return True
        return False

    def _queue(self, notification: Notification, last: ToldLast) -> None:
        self._waiting.append(notification)
        self._told[notification.entry.key] = last
        self._told.move_to_end(notification.entry.key)
        if len(self._told) > KEYS_KEPT_MAX:
            self._told.popitem(last=False)

    def _keep_bounded(self) -> None:
        """Leaves out the oldest informational notification, else the oldest that may be left out."""
        if len(self._waiting) <= self._target.waiting_max:
            return
        spare = [waiting for waiting in self._waiting if waiting.may_be_left_out]
        if spare:
            self._leave_out(min(spare, key=lambda waiting: waiting.entry.severity != "info"))

    def _leave_out(self, notification: Notification) -> None:
        self._waiting.remove(notification)
        entry = notification.entry
        self.left_out[entry.kind] += 1
        self._unsaid[entry.kind] += 1
        if entry.phase == "begins":
            self._told.pop(entry.key, None)  # its end is not told either

    def _send(self, notification: Notification, now_ms: int) -> Notification:
        self._sent_ms.append(now_ms)
        self._in_flight = notification
        return notification

    def _summary(self, wall_ms: int) -> Entry:
        """One line for all that was left out since the last one."""
        kinds = [
            f"{count} {kind.replace('_', ' ')}" for kind, count in self._unsaid.most_common(NAMED_KINDS_MAX)
        ]
        total = sum(self._unsaid.values())
        self._unsaid.clear()
        return Entry(
            wall_ms,
            "summary",
            "notifications",
            text=f"{total} notifications were left out: {', '.join(kinds)}; `tieline history` has them all",
            severity="warning",
            key=f"summary:{wall_ms}",
        )
