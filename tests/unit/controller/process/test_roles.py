"""The roles of a controller, and how one is named in a setting."""

import pytest

from controller.leading.presence import Presence
from controller.process.errors import SettingError
from controller.process.roles import Role, read_role
from controller.status.controllers import state_of


def presence(role: str) -> Presence:
    """A controller of this role that stands by."""
    return Presence(
        "a", "host", 1, version="1", started_ms=0, lineage="l", policy_version="v", checked=True, role=role
    )


@pytest.mark.parametrize(
    ("role", "ingests", "decides"),
    [(Role.BOTH, True, True), (Role.INGEST, True, False), (Role.DECIDE, False, True)],
)
def test_each_role_does_its_work(role: Role, ingests: bool, decides: bool) -> None:
    """Both is both, and what a controller says of itself on its topic means the same."""
    for something in (role, presence(role.value)):
        assert something.does(Role.INGEST) is ingests
        assert something.does(Role.DECIDE) is decides


def test_a_role_of_another_version_is_no_work() -> None:
    """Nobody counts on a controller whose work is not known."""
    other = presence("observe")
    assert not other.does(Role.INGEST)
    assert not other.does(Role.DECIDE)


def test_the_usual_role_is_both() -> None:
    """Whoever says nothing gets what every controller did before there were roles."""
    assert read_role("") is Role.BOTH
    assert read_role(" ingest ") is Role.INGEST


def test_a_wrong_role_is_refused_with_the_right_ones() -> None:
    """The setting and what it may be are named."""
    with pytest.raises(SettingError, match="TIELINE_ROLE: 'reader' is no role: give both, ingest or decide"):
        read_role("reader")


def test_status_says_what_a_controller_does_that_never_leads() -> None:
    """Somebody who counts standbys must not count it."""
    assert state_of(presence("both"), 0) == "stands by"
    assert state_of(presence("decide"), 0) == "stands by"
    assert state_of(presence("ingest"), 0) == "takes events in"
