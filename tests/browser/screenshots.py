"""Takes the pictures of the page that the documentation shows: `script/screenshots`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.browser.chromium import chromium
from tests.browser.page_world import PageWorld, example_world, large_world, order, page_of
from tests.places import ROOT

PLACE = ROOT / "docs" / "images"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1120, "height": 820}}
WIDE: dict[str, Any] = {"viewport": {"width": 1120, "height": 1000}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}
BYTES_MAX = 200_000
SETTLE_MS = 700


def troubled(page: PageWorld) -> PageWorld:
    """A pool of gcp fails while one of oci is drained, twenty seconds later."""
    pools = page.world.pools
    pools[next(name for name in pools if name.startswith("gcp/europe-west4"))].errors = 0.9
    drained = next(name for name in pools if name.startswith("oci/us-chicago"))
    order(page.world, "drain", drained, "maintenance of the cluster, CHG-4711")
    page.pass_time(20)
    return page


async def take(browser: Browser, url: str, name: str, **settings: Any) -> None:
    """One picture. A name that begins with `what-if` shows the answer about azure."""
    context = await browser.new_context(**settings)
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_selector("#pools tr")
    await page.wait_for_selector("#margins tr")
    if name.startswith("what-if"):
        await _ask(page)
    await page.wait_for_timeout(SETTLE_MS)
    file = PLACE / f"{name}.png"
    await page.screenshot(path=file)
    await context.close()
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")


async def _ask(page: Page) -> None:
    await page.click("#providers [data-lose=azure]")
    await page.wait_for_selector("#what-if-answer table")


async def main() -> int:
    """All pictures. Returns 1 if one is larger than the documentation wants."""
    PLACE.mkdir(parents=True, exist_ok=True)
    example, large = troubled(PageWorld(example_world())), troubled(PageWorld(large_world()))
    async with (
        page_of(example.picture) as url,
        page_of(large.picture) as large_url,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=chromium())
        await take(browser, url, "page-light", color_scheme="light", **DESKTOP)
        await take(browser, url, "page-dark", color_scheme="dark", **DESKTOP)
        await take(browser, url, "page-phone", color_scheme="light", **PHONE)
        await take(browser, url, "what-if-light", color_scheme="light", **DESKTOP)
        await take(browser, large_url, "page-200-pools", color_scheme="dark", **WIDE)
        await browser.close()
    return int(any(_is_large(file) for file in PLACE.glob("*.png")))


def _is_large(file: Path) -> bool:
    return file.stat().st_size > BYTES_MAX


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
