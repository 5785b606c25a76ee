"""The page's question "what if"."""

import asyncio

import pytest

from controller.process.errors import UserError
from controller.status.live import Moment
from controller.status.what_if import one_loss
from controller.web.rehearsal import BusyError, Rehearsals, shown, summary
from tests.browser.page_world import PageWorld, example_world


@pytest.fixture(scope="module")
def moment() -> Moment:
    """The example policy under its expected demand."""
    page = PageWorld(example_world())
    page.draw()
    assert page.picture.moment is not None
    return page.picture.moment


async def test_the_answer_is_that_of_the_command(moment: Moment) -> None:
    """The same report, with a sentence and rows for the page."""
    report = await Rehearsals().ask("here", moment, ["azure"], "0%")
    assert report == one_loss(moment, ["azure"], 0.0)
    answer = shown(report)
    assert "critical tokens/s would be shed" in answer["summary"]
    assert answer["routes"][0][0].startswith("api/")
    assert any("(lost)" in row[0] for row in answer["pools"])


async def test_a_loss_that_costs_nothing_is_said_plainly(moment: Moment) -> None:
    """Everything is still served."""
    assert summary(await Rehearsals().ask("here", moment, ["oci"], "0%")).startswith(
        "Everything would be served."
    )


@pytest.mark.parametrize(
    ("names", "growth"), [([], "0%"), (["aws"], "0%"), (["azure"], "lots"), (["azure"] * 9, "0%")]
)
async def test_questions_that_make_no_sense_are_refused(
    moment: Moment, names: list[str], growth: str
) -> None:
    """With a sentence that says what to give."""
    with pytest.raises(UserError):
        await Rehearsals().ask("here", moment, names, growth)


async def test_one_question_at_a_time(moment: Moment) -> None:
    """A second question of the same caller is refused, and one that takes too long keeps its place until it
    is answered."""
    rehearsals = Rehearsals(answer_within_s=0.0)
    with pytest.raises(BusyError, match="longer than"):
        await rehearsals.ask("here", moment, ["azure"], "0%")
    with pytest.raises(BusyError, match="not answered yet"):
        await rehearsals.ask("here", moment, ["azure"], "0%")
    await asyncio.gather(*rehearsals.running)
    with pytest.raises(BusyError, match="longer than"):
        await rehearsals.ask("here", moment, ["azure"], "0%")
    await asyncio.gather(*rehearsals.running)
