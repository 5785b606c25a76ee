"""A memo answers from what it keeps while the inputs are the same objects, and asks anew when one is not."""

from typing import NamedTuple

from controller.core.model.memo import Memo, changed_keys


class Row:
    """Something with an identity."""


def doubled(words: tuple[str, ...], more: tuple[str, ...]) -> list[str]:
    """A new list at each call."""
    return [*words, *more]


def named(row: Row, name: tuple[str, ...]) -> list[object]:
    """A new list at each call."""
    return [row, *name]


class Sums(NamedTuple):
    """A stage's own record."""

    total: int


class Means(NamedTuple):
    """Another's."""

    mean: float


def words(*names: str) -> tuple[str, ...]:
    """A new tuple at each call, also where its contents are not new."""
    return names


def test_an_answer_is_kept_while_every_input_is_the_same_object() -> None:
    """Equal inputs are not enough: contents are never compared."""
    memo, some, more = Memo(), words("a"), words("b")
    answer = memo.once(doubled, some, more)
    assert memo.once(doubled, some, more) is answer == ["a", "b"]
    assert memo.once(doubled, some, words("b")) is not answer
    assert memo.once(doubled, words("c"), more) == ["c", "b"]


def test_only_the_last_answer_is_kept() -> None:
    """Inputs of the call before the last are new again."""
    memo, some, more = Memo(), words("a"), words("b")
    first = memo.once(doubled, some, more)
    memo.once(doubled, more, some)
    assert memo.once(doubled, some, more) is not first


def test_of_a_list_only_new_subjects_are_asked_about() -> None:
    """Answers come in the order of the subjects, whatever came between them or left."""
    memo, name = Memo(), words("x")
    one, two, three = Row(), Row(), Row()
    first = memo.each(named, (one, two), name)
    assert [answer[0] for answer in first] == [one, two]
    assert memo.each(named, [one, two], name) is first
    second = memo.each(named, (three, two, one), name)
    assert [answer[0] for answer in second] == [three, two, one]
    assert second[1] is first[1]
    assert second[2] is first[0]
    assert memo.each(named, (one,), words("x"))[0] is not first[0]


def test_a_record_is_found_by_its_class_alone() -> None:
    """A stage reads its own record and no other's; the last one kept counts."""
    memo = Memo()
    assert memo.last(Sums) is None
    memo.keep(Sums(1))
    memo.keep(Means(0.5))
    memo.keep(Sums(2))
    assert (memo.last(Sums), memo.last(Means)) == (Sums(2), Means(0.5))
    assert Memo().last(Sums) is None


def test_changed_keys_are_those_of_other_objects() -> None:
    """New, gone, or another object than before; in whatever order the keys come."""
    one, two, three = Row(), Row(), Row()
    before = {"a": one, "b": two}
    assert changed_keys(before, before) == set()
    assert changed_keys(before, {"a": one, "b": three}) == {"b"}
    assert changed_keys(before, {"b": two, "a": one}) == set()
    assert changed_keys(before, {"b": two, "c": three}) == {"a", "c"}
