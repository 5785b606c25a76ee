"""The policies of a lineage, newest first, read off the command log and the newest publication. Pure.

The publication names the policy in force. Each change names its parent, so the chain of what was in force is
walked from there backwards; a change that the chain does not contain was refused, or waits. The log keeps
changes for 31 days, and each brings its parent along: so one policy more is known than there are changes.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from controller.commands.authority import OrderRules
from controller.commands.policies import expanded
from controller.core.policy.difference import differences
from controller.core.policy.policy import Policy, decode_policy
from controller.routes.record import LoggedChange, RoutesRecord
from tieline.errors import UNDECODABLE
from tieline.table import checksum

PREFIX_MIN = 4
NUMBER_DIGITS_MAX = 7
SUMMARY_ITEMS_MAX = 3
REFUSED = "the leader refused it; its log says why"
FROM_FILE = "from the file of the first controller"

Fate: TypeAlias = Literal["in force", "replaced", "refused", "waits"]


class PolicyRow(Struct, frozen=True, omit_defaults=True):
    """One policy, or one change that is none. ``at_ms``: when the change was appended, None for a policy
    whose change the log no longer has. ``summary``: in what it differs from its parent. ``why``: of a
    refusal."""

    number: int
    version: str
    fate: Fate
    at_ms: int | None = None
    id: str = ""
    actor: str = ""
    reason: str = ""
    parent: str = ""
    forced: tuple[str, ...] = ()
    summary: str = ""
    why: str = ""


class PolicyHistory:
    """``rows``: newest first. ``packed``: the encoded policies that were in force, by number."""

    def __init__(self, record: RoutesRecord, changes: Sequence[LoggedChange], *, namespace: str) -> None:
        self._namespace = namespace
        self.packed: dict[int, bytes] = {record.policy_number: record.policy}
        self._version = {record.policy_number: record.policy_version}
        accepted = self._chain(record, changes)
        rows = [self._row(record, logged, logged in accepted) for logged in changes]
        oldest = record.policy_number - len(accepted)
        rows.sort(key=lambda row: (-row.number, -(row.at_ms or 0)))
        fate: Fate = "replaced" if accepted else "in force"
        begin = PolicyRow(oldest, self._version[oldest], fate, reason=FROM_FILE if not oldest else "")
        self.rows = (*rows, begin)

    def find(self, name: str) -> PolicyRow | None:
        """The policy with this number, or whose version begins so: the newest of them that was in force."""
        was_in_force = [row for row in self.rows if row.fate in ("in force", "replaced")]
        if name.isascii() and name.isdigit() and len(name) <= NUMBER_DIGITS_MAX:
            return next((row for row in was_in_force if row.number == int(name)), None)
        if len(name) < PREFIX_MIN:
            return None
        return next((row for row in was_in_force if row.version.startswith(name)), None)

    def policy(self, row: PolicyRow) -> Policy:
        """The policy of a row that was in force. Raises ValueError if it can't be read."""
        try:
            return decode_policy(self.packed[row.number])
        except UNDECODABLE as error:
            raise ValueError(f"policy {row.number} can't be read by this version: {error}") from None

    def _chain(self, record: RoutesRecord, changes: Sequence[LoggedChange]) -> list[LoggedChange]:
        """The changes that led to the policy in force, newest first."""
        number, accepted = record.policy_number, list[LoggedChange]()
        answers = (*record.policy_answers, *record.rejections)
        refused = {answer.id for answer in answers if answer.refused}
        while (logged := self._maker_of(number, changes, refused)) is not None:
            accepted.append(logged)
            number -= 1
            self._version[number] = logged.change.parent
            self.packed[number] = expanded(logged.change.parent_policy)
        return accepted

    def _maker_of(
        self, number: int, changes: Iterable[LoggedChange], refused: set[str]
    ) -> LoggedChange | None:
        """The change that put the policy of this number in force: the first that could have."""
        return next(
            (
                logged
                for logged in changes
                if (logged.change.number, logged.change.version) == (number, self._version[number])
                and logged.change.id not in refused
                and self._could_count(logged)
            ),
            None,
        )

    def _could_count(self, logged: LoggedChange) -> bool:
        """Whether the change brings its parent along, by whose operators it is signed."""
        change = logged.change
        try:
            packed = expanded(change.parent_policy)
            if checksum(packed) != change.parent:
                return False
            rules = OrderRules.of(decode_policy(packed), unsigned=True, namespace=self._namespace)
        except (ValueError, *UNDECODABLE):
            return False
        return not rules.refusal(change, logged.append_ms)

    def _row(self, record: RoutesRecord, logged: LoggedChange, accepted: bool) -> PolicyRow:
        change = logged.change
        fate: Fate = "refused"
        answers = (*record.policy_answers, *record.rejections)
        why = next((answer.refused for answer in answers if answer.id == change.id), REFUSED)
        if accepted:
            fate, why = ("in force" if change.number == record.policy_number else "replaced"), ""
        elif logged.offset >= record.commands_next_offset or record.pending_order(change.id) is not None:
            fate, why = "waits", ""
        return PolicyRow(
            change.number,
            change.version,
            fate,
            at_ms=logged.append_ms,
            id=change.id,
            actor=change.actor,
            reason=change.reason,
            parent=change.parent,
            forced=change.forced,
            summary=_summary(logged) if accepted else "",
            why=why or (_same_words(change.number) if fate == "refused" else ""),
        )


def _same_words(number: int) -> str:
    return f"it is the same as policy {number}, which was in force already"


def _summary(logged: LoggedChange) -> str:
    """What the change changed, in few words."""
    try:
        policies = [
            decode_policy(expanded(data)) for data in (logged.change.parent_policy, logged.change.policy)
        ]
    except (ValueError, *UNDECODABLE):
        return "it can't be read by this version"
    sentences = [difference.sentence for difference in differences(*policies)]
    more = len(sentences) - SUMMARY_ITEMS_MAX
    return "; ".join(sentences[:SUMMARY_ITEMS_MAX]) + (f"; and {more} more" if more > 0 else "")
