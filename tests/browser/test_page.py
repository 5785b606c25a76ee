"""The live page in a real browser: it loads, follows what happens, answers what-if, and never runs input."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import looking_at
from tests.browser.page_world import PageWorld, example_world, order, page_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
FAILING = "gcp/europe-west4/gemini-pro"


@dataclass
class Rig:
    """A world, its page, and where it is served."""

    page: PageWorld
    url: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    page = PageWorld(example_world())
    page.draw()
    async with page_of(page.picture) as url:
        yield Rig(page, url)


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, rig: Rig) -> AsyncIterator[Page]:
    async with looking_at(browser, rig.url) as looking:
        await expect(looking.locator("#pools tr")).to_have_count(13)
        yield looking


async def test_it_loads_and_shows_every_part(page: Page) -> None:
    """Traffic with a band for each part, providers, margins, spend, pools, and that it is live."""
    await expect(page.locator("#connection-text")).to_have_text("Live")
    await expect(page.locator("#traffic-summary")).to_contain_text("tokens/s offered")
    assert await page.locator(".bands path").count() > 20
    await expect(page.locator("#providers > li")).to_have_count(4)
    await expect(page.locator("#margins tr")).to_have_count(5)
    await expect(page.locator("#spend tr")).to_have_count(4)
    await expect(page.locator("#clients-summary")).to_contain_text("report now")


async def test_what_happens_is_there_without_a_reload(page: Page, rig: Rig) -> None:
    """A pool fails, an order is given: state, notice and countdown change by themselves."""
    rig.page.world.pools[FAILING].errors = 0.9
    order(rig.page.world, "drain", "oci/us-chicago-1/gpt-oss", "CHG-4711")
    for _ in range(20):
        await asyncio.to_thread(list, rig.page.world.run(1_000))
    rig.page.draw()
    row = page.locator("#pools tr", has_text=FAILING)
    await expect(row.locator(".state")).to_have_text("down")
    await expect(page.locator("#notices")).to_contain_text(f"DOWN: {FAILING}")
    given = page.locator("#orders li")
    await expect(given.locator(".countdown")).to_contain_text("ends in 59 min")
    await expect(given.locator("code")).to_contain_text("tieline undrain oci/us-chicago-1/gpt-oss")


async def test_what_if_by_a_click_and_by_keys(page: Page) -> None:
    """A click on a provider answers, Escape closes, and Enter on a node of the picture asks again."""
    await page.click("#providers [data-lose=azure]")
    await expect(page.locator("#what-if-said")).to_contain_text("critical tokens/s would be shed")
    await expect(page.locator("#what-if-commands")).to_contain_text("tieline drain azure --for 30m")
    await page.select_option("#growth", "20%")
    await expect(page.locator("#what-if-answer")).to_contain_text("61")
    await page.keyboard.press("Escape")
    await expect(page.locator("#what-if")).to_be_hidden()
    await page.focus("#flow [data-lose^='coreweave/us-east']")
    await page.keyboard.press("Enter")
    await expect(page.locator("#what-if-title")).to_have_text("What if coreweave/us-east-04/gpt-oss is lost?")
    await expect(page.locator("#what-if-said")).to_contain_text("would")


async def test_pools_are_found_by_text_and_state(page: Page) -> None:
    """The filter narrows the table, and the table of the picture has the same figures as text."""
    await page.fill("#pool-filter", "coreweave/eu")
    await expect(page.locator("#pools tr")).to_have_count(2)
    await expect(page.locator("#pools-summary")).to_contain_text("2 of 13 pools")
    await page.click("#flow-table summary")
    await expect(page.locator("#flow-table tbody tr").first).to_be_visible()


async def test_the_picture_can_be_grouped(page: Page) -> None:
    """By provider there are four nodes at the end, by pool thirteen."""
    await page.select_option("#grouping", "provider")
    await expect(page.locator("#flow [data-lose]")).to_have_count(4)
    await page.select_option("#grouping", "pool")
    await expect(page.locator("#flow [data-lose]")).to_have_count(13)


async def test_what_people_write_stays_text(page: Page, rig: Rig) -> None:
    """An order's reason with markup is shown letter by letter, and nothing of it runs."""
    hostile = '<img src=x onerror="document.title=1">'
    order(rig.page.world, "freeze", "gcp", hostile)
    rig.page.draw()
    await expect(page.locator("#orders")).to_contain_text(hostile)
    assert await page.locator("#orders img").count() == 0
    assert await page.title() == "Tieline"


async def test_silence_is_said(page: Page, rig: Rig) -> None:
    """When nothing comes any more, the page says for how long instead of showing old figures as new ones."""
    await page.evaluate("window.stop(); Date.now = ((real) => () => real() + 60000)(Date.now)")
    await expect(page.locator("#connection-text")).to_contain_text("Nothing heard for")
    await expect(page.locator("body")).to_have_attribute("data-stale", "yes")
