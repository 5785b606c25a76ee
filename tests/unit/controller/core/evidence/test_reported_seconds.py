"""A second counts once the clients that usually report have reported it."""

from controller.core.evidence.reported_seconds import reported_seconds
from streams.rows import DemandSecond
from tests.unit.controller.core.made import LIMITS


def seconds(*clients: int) -> list[DemandSecond]:
    """So many clients reported each second, the oldest first."""
    return [DemandSecond(number * 1000, count, (), ()) for number, count in enumerate(clients)]


def counts(*clients: int) -> list[int]:
    """Of the seconds that count."""
    return [second.clients for second in reported_seconds(seconds(*clients), LIMITS)]


def test_seconds_whose_reports_are_on_their_way_wait() -> None:
    """20 clients usually report, and only 12 and 3 of them have reported the last two whole seconds."""
    assert counts(20, 20, 20, 12, 3, 1) == [20, 20, 20]
    assert counts(20, 20, 20, 20) == [20, 20, 20]


def test_clients_that_are_gone_are_not_waited_for() -> None:
    """After four seconds their silence counts."""
    assert counts(20, 20, 20, 5, 5, 5, 5, 5, 5) == [20, 20, 20, 5]


def test_without_a_whole_second_the_newest_is_all_there_is() -> None:
    """One second, or two of which nobody can say what is usual."""
    assert counts(3) == [3]
    assert counts(3, 1) == [3]
    assert counts(20, 2, 1) == [20, 2]
