"""What the page shows of a world, as plain JSON."""

import msgspec
import pytest

from controller.web.live import Sections, figure
from tests.browser.page_world import PageWorld, example_world, order


@pytest.fixture(scope="module")
def sections() -> Sections:
    """A world in which a pool fails and another is drained, for a reason with control characters."""
    page = PageWorld(example_world())
    page.world.pools["gcp/europe-west4/gemini-pro"].errors = 0.9
    order(page.world, "drain", "oci/us-chicago-1/gpt-oss", "CHG-1 \x1b[31m<script>alert(1)</script>\u202e")
    page.pass_time(20)
    return page.picture.shown.sections


def test_states_and_reasons_are_those_of_the_status(sections: Sections) -> None:
    """A pool that is down says so, with the words of the terminal, and what it may carry is nothing."""
    pool = sections["pools"]["gcp/europe-west4/gemini-pro"]
    assert pool["state"] == "down"
    assert "fail there" in pool["why"]
    assert pool["usable"] == 0.0


def test_pools_that_are_down_need_attention(sections: Sections) -> None:
    """A calm page would be a lie: what is down is named, and so is critical load that a loss would leave
    without a place."""
    notices = [notice["text"] for notice in sections["notices"]]
    assert any(text.startswith("DOWN: gcp/europe-west4") for text in notices)
    assert any("N-1" in text and "azure" in text for text in notices)


def test_the_key_of_a_notice_stays_while_only_figures_change(sections: Sections) -> None:
    """So a screen reader is told once."""
    for notice in sections["notices"]:
        assert not any(character.isdigit() for character in notice["key"])


def test_orders_name_the_command_that_takes_them_back(sections: Sections) -> None:
    """The page acts on nothing; it shows what to paste."""
    (row,) = sections["orders"]
    assert row["command"] == "tieline undrain oci/us-chicago-1/gpt-oss"
    assert row["expires_ms"] > 0


def test_control_characters_stay_outside(sections: Sections) -> None:
    """Whatever an operator or a producer wrote reaches the page as text without escapes or turned writing."""
    text = msgspec.json.encode(sections).decode()
    assert "\\u001b" not in text
    assert "\u202e" not in text
    assert "<script>" in text  # text it stays; the page never makes markup of it


def test_routes_carry_load_and_shares(sections: Sections) -> None:
    """The widths of the picture: offered load, and shares that with what is shed sum to one."""
    route = sections["routes"]["chat/eu"]
    assert route["offered"] == pytest.approx(10_000, rel=0.05)
    assert sum(route["shares"].values()) + route["shed"] == pytest.approx(1, abs=0.01)


def test_margins_and_money_are_there(sections: Sections) -> None:
    """Margins by geography, committed capacity by provider, and commitments projected for their period."""
    outlook = sections["outlook"]
    assert {row["geography"] for row in outlook["margins"]} == {"us", "jp", "uk", "eu", "eea"}
    assert {row["id"] for row in outlook["providers"]} == {"azure", "gcp", "oci", "coreweave"}
    assert outlook["commitments"][0]["projected"] > 0


def test_figures_that_nobody_can_tell_apart_are_equal() -> None:
    """Else every figure would change with every report."""
    assert figure(12_341.678) == figure(12_339.1) == 12_340.0
    assert figure(None) is None
