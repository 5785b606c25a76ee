"""The live page of a real `tieline web` beside a real controller: an order is on the page soon."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import looking_at
from tests.integration.controllers import ControllerProcess, Fleet, settings_of
from tieline.events import Command
from tieline.producer import Producer

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOKEN = "correct-horse-battery-staple"
ORDERS = 3
WITHIN_S = 15.0  # a safety net: on a quiet machine it takes less than a second
HOUR_MS = 3_600_000


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        controller = await running.add()
        await controller.until_said("decides now")
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def url(fleet: Fleet, tmp_path: Path) -> AsyncIterator[str]:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    command = ("web", "--listen", "127.0.0.1:0", "--tokens", str(tokens))
    process = ControllerProcess(fleet.settings, tmp_path / "web.log", *command)
    await process.start()
    try:
        yield (await process.until_said("listening"))["url"]
    finally:
        await process.kill()


async def test_from_the_sign_in_to_an_order_on_the_page(browser: Browser, fleet: Fleet, url: str) -> None:
    """A stranger is asked for a token; whoever gives it sees the controller, its pools, what-if and history,
    and an order soon after Kafka has it (the median of three)."""
    async with aiohttp.ClientSession() as stranger, stranger.get(f"{url}/live/events") as refused:
        assert refused.status == 401
    async with looking_at(browser, url) as page:
        await _sign_in(page)
        await expect(page.locator("#pools tr")).to_have_count(13)
        await expect(page.locator("#controllers")).to_contain_text("leads")
        await expect(page.locator("#timeline")).to_contain_text("leads, in epoch")
        delays_s = [await _delay_s(page, fleet, number) for number in range(ORDERS)]
        assert sorted(delays_s)[ORDERS // 2] < WITHIN_S
        await page.click("#providers [data-lose=azure]")
        await expect(page.locator("#what-if-said")).to_contain_text("would")
        await page.keyboard.press("Escape")
        await page.click("text=Sign out")
        await expect(page).to_have_url(f"{url}/sign-in")


async def _sign_in(page: Page) -> None:
    assert page.url.endswith("/sign-in")
    await page.fill("#token", TOKEN)
    await page.click("text=Sign in")


async def _delay_s(page: Page, fleet: Fleet, number: int) -> float:
    """How long after Kafka has an order the page shows it."""
    now_ms = time.time_ns() // 1_000_000
    drain = Command(
        id=f"c-{number}",
        verb="drain",
        scope="oci/us-chicago-1/gpt-oss",
        actor="amara",
        reason=f"CHG-{number}",
        issued_ms=now_ms,
        expires_ms=now_ms + HOUR_MS,
    )
    async with Producer(fleet.settings.kafka, prefix=fleet.settings.namespace) as producer:
        await producer.send(drain)
        begin_s = asyncio.get_running_loop().time()
        await page.locator("#orders li", has_text=f"CHG-{number}").wait_for()
        return asyncio.get_running_loop().time() - begin_s
