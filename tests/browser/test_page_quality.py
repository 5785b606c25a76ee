"""The live page with 200 pools that change twice a second, for everybody who uses it: quick, and without
serious faults that axe-core knows of, in light and dark and on a phone."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from controller.web.live import Sections
from controller.web.picture import Picture
from tests.browser.conftest import looking_at
from tests.browser.page_world import PageWorld, example_world, large_world, order, page_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
POOLS = 200
UPDATES = 12
UPDATE_EVERY_MS = 500
TASK_MAX_MS = 100
RUNS = 3
SERIOUS = ("serious", "critical")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pictures() -> list[tuple[Sections, int]]:
    """What the page shows in each of several seconds of a world in which every load changes."""
    page, shown = PageWorld(large_world(POOLS)), []
    for number in range(UPDATES):
        for key in page.world.demand:
            page.world.demand[key] *= 1.03 if number % 2 else 0.96
        page.pass_time(1)
        shown.append((page.picture.shown.sections, page.picture.shown.at_ms))
    return shown


@pytest_asyncio.fixture(loop_scope="module")
async def example() -> AsyncIterator[tuple[PageWorld, str]]:
    """Something of everything: a pool that is down, an order, notices."""
    page = PageWorld(example_world())
    page.world.pools["gcp/europe-west4/gemini-pro"].errors = 0.9
    order(page.world, "drain", "oci/us-chicago-1/gpt-oss", "CHG-4711")
    page.pass_time(20)
    async with page_of(page.picture) as url:
        yield page, url


async def test_two_hundred_pools_twice_a_second(
    browser: Browser, pictures: list[tuple[Sections, int]]
) -> None:
    """No task of the page's main thread takes 100 ms, also while it loads: keys and clicks are answered.

    The best of three runs counts, as no other program is the page's fault.
    """
    longest_ms = []
    for _ in range(RUNS):
        tasks = await tasks_of_a_run_ms(browser, pictures)
        assert len(tasks) > UPDATES
        longest_ms.append(max(tasks))
        if longest_ms[-1] < TASK_MAX_MS:
            return
    pytest.fail(f"the longest task of each run took {longest_ms} ms")


async def tasks_of_a_run_ms(browser: Browser, pictures: list[tuple[Sections, int]]) -> list[float]:
    """Loads the page, changes everything twice a second, and returns the length of every task."""
    picture = Picture()
    picture.show(*pictures[0], None)
    async with page_of(picture) as url, looking_at(browser, "about:blank") as page:
        await browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline"])
        await page.goto(url)
        await expect(page.locator("#pools tr")).to_have_count(POOLS)
        for sections, at_ms in pictures[1:]:
            picture.show(sections, at_ms, None)
            await page.wait_for_timeout(UPDATE_EVERY_MS)
        last = str(pictures[-1][1])
        await expect(page.locator("html")).to_have_attribute("data-drawn", last)
        events = json.loads(await browser.stop_tracing())["traceEvents"]
        return main_thread_tasks_ms(events)


def main_thread_tasks_ms(events: list[dict[str, Any]]) -> list[float]:
    """How long each task of the renderer's main thread had the processor, which others use as well."""
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    names = ("RunTask", "ThreadControllerImpl::RunTask")
    tasks = [event for event in events if event["name"] in names and "dur" in event]
    own = [event for event in tasks if (event["pid"], event["tid"]) in main]
    return [event.get("tdur", event["dur"]) / 1_000 for event in own]


async def audited(page: Page) -> None:
    """Fails with what axe-core finds, if any of it is serious."""
    findings = (await Axe().run(page)).response["violations"]
    serious = [
        (finding["id"], [node["html"][:150] for node in finding["nodes"][:3]])
        for finding in findings
        if finding["impact"] in SERIOUS
    ]
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(
    browser: Browser, example: tuple[PageWorld, str], scheme: str
) -> None:
    """Nor in the dialog of what-if."""
    async with looking_at(browser, example[1], color_scheme=scheme) as page:
        await expect(page.locator("#pools tr")).to_have_count(13)
        await expect(page.locator("#orders li")).to_have_count(1)
        await audited(page)
        await page.click("#providers [data-lose=azure]")
        await expect(page.locator("#what-if-answer table")).to_be_visible()
        await audited(page)


async def test_a_phone_shows_everything_without_scrolling_sideways(
    browser: Browser, example: tuple[PageWorld, str]
) -> None:
    """The page is as wide as the phone, and axe finds nothing serious there either."""
    async with looking_at(browser, example[1], **PHONE) as page:
        await expect(page.locator("#pools tr")).to_have_count(13)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await audited(page)


async def test_everything_is_reached_by_keys(browser: Browser, example: tuple[PageWorld, str]) -> None:
    """The first stop leads past the head to the traffic, and every stop shows where it is."""
    async with looking_at(browser, example[1]) as page:
        await expect(page.locator("#pools tr")).to_have_count(13)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip"
        reached = set()
        for _ in range(70):
            await page.keyboard.press("Tab")
            focus = await page.evaluate(
                "(({id, dataset, tagName}) => [dataset.lose ?? id ?? '', tagName])(document.activeElement)"
            )
            reached.add(tuple(focus))
        names = {name for name, _ in reached}
        assert {"grouping", "pool-filter", "pool-unwell", "azure", "azure/eastus2/gpt-4o"} <= names
