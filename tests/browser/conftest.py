"""A headless Chromium for the tests of the page, and contexts in it that note every error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.chromium import chromium
from tests.waiting import SAFETY_NET_S

expect.set_options(timeout=1_000 * SAFETY_NET_S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for the tests of a module."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium())
        yield running
        await running.close()


@asynccontextmanager
async def looking_at(browser: Browser, url: str, **settings: Any) -> AsyncIterator[Page]:
    """A page in a context of its own. Whatever the browser reports as an error fails the test."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    try:
        await page.goto(url)
        yield page
        assert errors == []
    finally:
        await context.close()
