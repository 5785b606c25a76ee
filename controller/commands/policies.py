"""Which policy is in force: a pure fold over the policy changes on the command log.

In: the policy of the newest publication, and the changes that lie on the log after what that publication took
into account. Out: the policy in force after them, and an answer to each change. Only the leader folds; its
publication carries the result, and everybody else follows that. So all controllers have the same policy at
the same place, whatever their files say. Whoever may not give orders of this kind was turned away
before (``authority``). The rules, in the order in which they are checked:

- A change counts if its ``parent`` and ``number`` follow the policy in force at its place. So the changes
  that count form one chain, and of two changes of one parent the first wins.
- A change to the very policy in force, under its number, is accepted and changes nothing.
- It must bring along the policy that it follows, so that nobody need look elsewhere to take it back.
- Its policy must have the digest that it names, must be written as this version writes it, and must have no
  contradiction (``core.policy.check``).
- What names the history, and what figures of clients mean, stays as it is while controllers run (``FIXED``).
- Somebody must be able to change the policy again: an operator with that right, where operators sign.
- The publication that carries it must be one that can be sent.

A policy lies in a change compressed. What it expands to is limited, as anybody might have written it.
"""

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from controller.core.policy.check import faults
from controller.core.policy.operators import POLICY_VERB
from controller.core.policy.policy import Policy, decode_policy, encode_policy, version_of
from controller.kafka.packing import inflated
from controller.process.errors import UserError
from controller.routes.record import LoggedChange, OrderAnswer, RecordHead, RoutesRecord
from tieline.errors import UNDECODABLE
from tieline.events import PolicyChange
from tieline.table import checksum

POLICY_BYTES_MAX = 6 * 1024 * 1024  # a publication has at most 8 MiB, and its table is in it as well
POLICY_ANSWERS_KEPT_MAX = 10
FAULTS_SHOWN_MAX = 3
COMPRESSION_LEVEL = 9
FIXED = {
    "lineage": "it names the history of Kafka: change it in the file, restart all controllers, and run "
    "`tieline adopt-lineage`",
    "clients.load_unit": "demand and limits are counted in it: a new unit needs a new lineage",
}
"""The fields of a policy that no change may touch, and why with the remedy."""


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The policy, the bytes that go into every record (``packed``), and their checksum (``version``).

    ``number``: how many changes led to it; that of the first policy of a lineage is 0. ``unsigned``: this
    process was asked to run in the unsigned development mode.
    """

    policy: Policy
    packed: bytes
    version: str
    number: int = 0
    unsigned: bool = False

    @property
    def takes_unsigned(self) -> bool:
        """Whether orders need no signature, which every output names; never with operators in the policy."""
        return self.unsigned and not self.policy.operators


TOO_LARGE = "a publication with it can't be sent: it has more than 8 MiB, or its table fails its check"


class PolicyTaken(NamedTuple):
    """The policy after some changes, and what became of each of them."""

    policy: PolicyInForce
    answers: tuple[OrderAnswer, ...]


def first_policy(policy: Policy, *, unsigned: bool) -> PolicyInForce:
    """The policy of a file, as the first of a lineage."""
    return PolicyInForce(policy, encode_policy(policy), version_of(policy), unsigned=unsigned)


def published_policy(record: RoutesRecord | RecordHead, *, unsigned: bool) -> PolicyInForce:
    """The policy of a publication. Raises ``UserError`` if this version can't read it."""
    try:
        policy = decode_policy(record.policy)
    except UNDECODABLE as error:
        raise UserError(
            f"another version of Tieline wrote the policy in force, and this one can't read it: {error}"
        ) from None
    return PolicyInForce(
        policy,
        record.policy,
        record.policy_version,
        number=record.policy_number,
        unsigned=unsigned,
    )


def policy_after(
    before: PolicyInForce, changes: Iterable[LoggedChange], unfit: Collection[str] = ()
) -> PolicyTaken:
    """The policy in force after the changes, which are in the log's order, and the answers to them.
    ``unfit``: ids of changes with which no publication can be sent."""
    policy, answers = before, []
    for logged in changes:
        after, refused = _after(policy, logged.change)
        if logged.change.id in unfit:
            refused = refused or TOO_LARGE
        else:
            policy = after
        answers.append(OrderAnswer(logged.change.id, logged.append_ms, refused))
    return PolicyTaken(policy, tuple(answers))


def compressed(packed: bytes) -> bytes:
    """An encoded policy as it lies in a change."""
    return zlib.compress(packed, COMPRESSION_LEVEL)


def expanded(data: bytes) -> bytes:
    """The encoded policy that lies compressed in a change. Raises ValueError."""
    return inflated(data, POLICY_BYTES_MAX, what="its policy")


def new_policy(change: PolicyChange) -> Policy:
    """The policy that a change brings. Raises ValueError for one that can't be used."""
    packed = expanded(change.policy)
    if checksum(packed) != change.version:
        raise ValueError("its policy is not the one whose version it names")
    try:
        policy = decode_policy(packed)
    except UNDECODABLE as error:
        raise ValueError(f"its policy can't be read: {error}") from None
    if encode_policy(policy) != packed:
        raise ValueError("its policy was written by another version of Tieline: use the controllers' version")
    if contradictions := faults(policy):
        shown = contradictions[:FAULTS_SHOWN_MAX]
        places = "; ".join(f"{'.'.join(map(str, fault.path))}: {fault.text}" for fault in shown)
        more = len(contradictions) - len(shown)
        raise ValueError(f"its policy contradicts itself: {places}{f'; and {more} more' if more else ''}")
    return policy


def fixed_fault(before: Policy, after: Policy) -> str:
    """Why the policy can't follow the other one while controllers run; empty if it can."""
    for name, remedy in FIXED.items():
        was, now = _field(before, name), _field(after, name)
        if was != now:
            return f"{name} can't change from {was} to {now} while controllers run: {remedy}"
    signed = before.operators or after.operators
    if signed and not any(operator.is_allowed(POLICY_VERB, "*") for operator in after.operators):
        return f"nobody could change the policy again: give an operator the right {POLICY_VERB}:*"
    return ""


def _after(before: PolicyInForce, change: PolicyChange) -> tuple[PolicyInForce, str]:
    """The policy in force after one change, and why the change is refused, empty if it is accepted."""
    if (change.number, change.version) == (before.number, before.version):
        return before, ""
    if (change.number, change.parent) != (before.number + 1, before.version):
        return before, (
            f"it follows policy {change.number - 1} ({change.parent[:8]}), and policy {before.number} "
            f"({before.version[:8]}) is in force: look at `tieline policy diff`, and apply it again"
        )
    try:
        if expanded(change.parent_policy) != before.packed:
            raise ValueError("it does not bring along the policy that it follows")
        policy = new_policy(change)
    except ValueError as error:
        return before, str(error)
    if fault := fixed_fault(before.policy, policy):
        return before, fault
    after = PolicyInForce(
        policy, encode_policy(policy), change.version, number=change.number, unsigned=before.unsigned
    )
    return after, ""


def _field(policy: Policy, dotted: str) -> object:
    value: object = policy
    for name in dotted.split("."):
        value = getattr(value, name)
    return value
