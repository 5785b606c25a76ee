"""One chain of policies, whoever leads and in whatever order changes of the policy arrive."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands.authority import OrderRules
from controller.commands.log import CommandLog
from controller.commands.policies import (
    PolicyInForce,
    PolicyTaken,
    first_policy,
    policy_after,
    published_policy,
)
from controller.core.model.memory import Memory
from controller.core.snapshot import Ready
from controller.leading.term import Term
from controller.routes.record import RoutesRecord
from tests.unit.controller.commands.changes import NOW_MS, POLICY, change
from tieline.events import PolicyChange
from tieline.table import Generation

UNSIGNED = OrderRules(unsigned_allowed=True)
NOTHING = Ready(memory=Memory(), table=None, decisions=())


class Controllers:
    """A leader that publishes now and then, and whoever follows it: one that read the whole log, or one that
    begins at the newest publication."""

    def __init__(self) -> None:
        self.first = first_policy(POLICY, unsigned=True)
        self.log = CommandLog()
        self.record = RoutesRecord(
            Generation("one", 0, 1), NOW_MS, policy=self.first.packed, policy_version=self.first.version
        )
        self.written: list[PolicyChange] = []
        self.published: list[PolicyInForce] = [self.first]
        self.answers: dict[str, str] = {}

    def write(self, item: PolicyChange) -> None:
        """One more record on the command log."""
        self.log = self.log.apply(len(self.written), NOW_MS, item, rules=UNSIGNED)
        self.written.append(item)

    def lead(self, *, fresh: bool) -> None:
        """A controller takes over, reads the log and publishes once."""
        log = self.log
        if fresh:
            log = CommandLog.after(self.record, rules=UNSIGNED)
            for offset in range(self.record.commands_next_offset, len(self.written)):
                log = log.apply(offset, NOW_MS, self.written[offset], rules=UNSIGNED)
        policy = published_policy(self.record, unsigned=True)
        term = Term(
            0, 0, {}, record=self.record, memory=None, policy=policy, published_steady_ms=0, settled=True
        )
        taken = log.taken(NOW_MS)
        after = term.policy_with(taken)
        self._publish(after, taken.next_offset)
        self.log = self.log.without_changes(taken.next_offset)

    def _publish(self, after: PolicyTaken, next_offset: int) -> None:
        policy = after.policy
        self.record = RoutesRecord(
            Generation("one", 0, self.record.generation.seq + 1),
            NOW_MS,
            policy=policy.packed,
            policy_version=policy.version,
            policy_number=policy.number,
            commands_next_offset=next_offset,
        )
        self.published.append(policy)
        self.answers |= {answer.id: answer.refused for answer in after.answers}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_interleaving_of_applies_leaves_one_chain_of_parents(data: st.DataObject) -> None:
    """Operators apply on what they read last, which may be old; leaders come and go. Each accepted change
    follows the one before it, each change is answered once and the same by everybody, and the last policy is
    that of one fold over the whole log."""
    world = Controllers()
    for number in range(data.draw(st.integers(1, 14))):
        if data.draw(st.booleans()):
            parent = world.published[-1 - data.draw(st.integers(0, min(2, len(world.published) - 1)))]
            headroom = data.draw(st.sampled_from([0.5, 0.6, 0.7]))
            world.write(change(parent, f"p{number}", headroom=headroom))
        else:
            world.lead(fresh=data.draw(st.booleans()))
    world.lead(fresh=True)
    at_once = CommandLog()
    for offset, item in enumerate(world.written):
        at_once = at_once.apply(offset, NOW_MS, item, rules=UNSIGNED)
    folded = policy_after(world.first, at_once.changes)
    assert world.published[-1] == folded.policy
    assert world.answers == {answer.id: answer.refused for answer in folded.answers}
    for before, after in zip(world.published, world.published[1:], strict=False):
        assert after == before or after.number > before.number
    accepted = [item for item in world.written if not world.answers[item.id]]
    chain = [world.first.version]
    for item in accepted:
        if item.number == len(chain):
            assert item.parent == chain[-1]
            chain.append(item.version)
    assert chain[-1] == world.published[-1].version
    assert len(chain) == world.published[-1].number + 1
