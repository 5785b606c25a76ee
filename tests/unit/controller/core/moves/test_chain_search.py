"""What a search for chains keeps of the receivers that it has looked at."""

from controller.core.moves.chain_search import FreeReceivers


def test_every_receiver_is_looked_at_first() -> None:
    """At the first look nothing is known, so every pool may be full; they come in the order of merit."""
    assert FreeReceivers([3, 1, 2]).to_look_at([]) == [3, 1, 2]


def test_only_receivers_that_were_given_load_are_looked_at_again() -> None:
    """Later only those that chains have given load since the last look may have become full, and pools of
    other lists are no matter of this one."""
    free = FreeReceivers([3, 1, 2])
    free.to_look_at([1])
    assert free.to_look_at([1, 2, 9, 3, 2]) == [3, 2]
    assert free.to_look_at([1, 2, 9, 3, 2]) == []


def test_what_was_given_load_by_the_last_look_itself_is_looked_at_again() -> None:
    """Chains that are made after a look count as later than it, as the look could not know them."""
    free, filled = FreeReceivers([3, 1]), [3]
    free.to_look_at(filled)
    filled.append(1)
    assert free.to_look_at(filled) == [1]


def test_receivers_that_are_full_are_not_looked_at_again() -> None:
    """A full receiver was met, so it neither ends a chain nor is met once more."""
    free = FreeReceivers([3, 1, 2])
    free.to_look_at([])
    free.remove([1, 1])
    assert list(free) == [3, 2]
    assert free.to_look_at([1, 3]) == [3]
