"""What the HTTP endpoint bears, on real sockets: its numbers made small, its table given directly."""

import asyncio
import gzip
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

import tieline
from controller.process.listening import Listen
from controller.web.admission import TOKENS, Bounds, Tokens
from controller.web.answers import Answers
from controller.web.board import Board, newer_table
from controller.web.server import Server
from tests.integration.recording import Asked, recording
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, pool_info, table
from tests.waiting import until
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.producer import Producer
from tieline.table import RouteTable, manifest, slices

A = "azure/uksouth/gpt"
TOKEN = "correct-horse-battery-staple"
TLS_CLIENT = """
import asyncio, sys, tieline
async def main():
    async with tieline.AsyncClient(sys.argv[1], token=sys.argv[2], workload="chat", origin="eu") as client:
        while not client.status.error:
            await asyncio.sleep(0.01)
        print(client.status.error)
asyncio.run(asyncio.wait_for(main(), 60))
"""
ONE = table((pool_info(A, "http://127.0.0.1:1/v1"),), (1_000_000,))


class Rig(NamedTuple):
    """A listening endpoint within this process."""

    url: str
    board: Board
    answers: Answers

    def show(self, wanted: RouteTable) -> None:
        parts = slices(wanted)
        fields = {slice_field(name): data for name, data in parts.items()}
        fields[MANIFEST_FIELD] = manifest(wanted, parts, urgent_seq=0)
        new = newer_table(fields, b"", self.board.served)
        assert new is not None
        self.board.show(new)

    def client(self) -> tieline.AsyncClient:
        return tieline.AsyncClient(self.url, token=TOKEN, workload=WORKLOAD, origin=ORIGIN)

    def connect(self) -> socket.socket:
        place = urlsplit(self.url)
        assert place.hostname
        assert place.port
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        made.connect((place.hostname, place.port))
        made.setblocking(False)
        return made


@asynccontextmanager
async def listening(bounds: Bounds, producer: Producer | None = None) -> AsyncIterator[Rig]:
    """Serves ``ONE`` within these bounds."""
    board = Board()
    answers = Answers(board, producer, bounds=bounds, tokens=Tokens(None, {TOKENS: TOKEN}))
    server = Server(Listen("127.0.0.1", 0), answers, bounds)
    async with server.listening() as url:
        rig = Rig(url, board, answers)
        rig.show(ONE)
        yield rig


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"authorization": f"Bearer {TOKEN}"})


async def test_a_stream_that_is_not_read_is_dropped_with_a_reason() -> None:
    """It costs the endpoint a few kilobytes for the time allowed, and others go on."""
    bounds = Bounds(repeat_every_s=0.001, write_within_s=0.3, stream_buffer_bytes=4_096)
    async with listening(bounds) as rig:
        with rig.connect() as deaf:
            deaf.send(f"GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
            reason = "streams dropped: its reader did not read in time"
            await until(lambda: rig.answers.counts[reason] == 1, what="the drop")
            await until(lambda: rig.answers.streams.open == 0, what="its place free")
        async with rig.client() as client:
            assert await client.ready(60), client.status


async def test_without_a_stream_the_poll_finds_out() -> None:
    """No stream to be had: tables still arrive, and an unchanged one is not sent again."""
    async with listening(Bounds(streams_max=0)) as rig, rig.client() as client:
        assert await client.ready(60), client.status
        await until(lambda: rig.answers.counts["tables not modified"] >= 1, what="an unchanged table")
        assert rig.answers.counts["tables sent"] == 1
        rig.show(table((pool_info(A, "http://127.0.0.1:1/v1"),), (1_000_000,), seq=2))
        assert await client.wait_for("l1:1:2", 60), client.status


async def test_connections_are_bounded_and_mute_ones_ended() -> None:
    """One connection too many is refused at once; one that never asks is ended, and its place is free."""
    async with listening(Bounds(connections_max=1, first_request_within_s=0.2)) as rig:
        loop = asyncio.get_running_loop()

        async def gone(one: socket.socket) -> bool:
            try:
                return await loop.sock_recv(one, 1) == b""
            except ConnectionError:
                return True

        with rig.connect() as mute, rig.connect() as refused:
            async with asyncio.timeout(60):
                assert await gone(refused)
                assert await gone(mute)
        assert rig.answers.counts["connections refused"] == 1
        assert rig.answers.counts["connections ended: no request"] == 1
        async with session() as http, http.get(f"{rig.url}/v1/health") as answer:
            assert answer.status == 200


async def test_requests_are_bounded_in_rate() -> None:
    """Too many from one address get 429 with a time to wait."""
    async with listening(Bounds(requests_per_s=0.001, burst=3.0)) as rig, session() as http:
        statuses = []
        for _ in range(4):
            async with http.get(f"{rig.url}/v1/status") as answer:
                statuses.append(answer.status)
        assert statuses == [200, 200, 200, 429]
        assert int(answer.headers["retry-after"]) >= 1


async def test_reports_are_looked_at_before_they_are_taken() -> None:
    """Too large a report gets 413; what is no report 400 with the place; without Kafka none is taken."""
    producer = Producer("127.0.0.1:1")
    async with producer, listening(Bounds(body_max_bytes=100), producer) as rig, session() as http:
        async with http.post(f"{rig.url}/v1/reports", data=b"x" * 200) as answer:
            assert answer.status == 413
        async with http.post(f"{rig.url}/v1/reports", json={"client": "a"}) as answer:
            assert answer.status == 400
            assert "missing required field" in await answer.text()
    async with (
        listening(Bounds()) as rig,
        session() as http,
        http.post(f"{rig.url}/v1/reports", json={}) as answer,
    ):
        assert answer.status == 503
        assert "no Kafka" in await answer.text()


async def test_over_tls(tmp_path: Path) -> None:
    """With a certificate the endpoint speaks TLS; a client that trusts it is served, one that doesn't says
    why not, and a token that no header can carry is said without repeating it."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    making = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await making.wait() == 0
    answers = Answers(Board(), None, bounds=Bounds(), tokens=Tokens(None, {TOKENS: TOKEN}))
    server = Server(Listen("127.0.0.1", 0, certificate, key=key), answers, Bounds())
    async with server.listening() as url:
        assert url.startswith("https://")
        for trusted, token, said in (
            (str(certificate), TOKEN, "no route table yet"),
            ("", TOKEN, "CERTIFICATE_VERIFY_FAILED"),
            (str(certificate), "two words", "no header can carry"),
        ):
            environment = {**os.environ, **({"SSL_CERT_FILE": trusted} if trusted else {})}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", TLS_CLIENT, url, token),
                env=environment,
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await process.communicate()
            assert said in out.decode()
            assert token not in out.decode()


async def test_a_redirect_is_not_followed() -> None:
    """A token given for one address never travels to another, even when that one asks for it."""
    async with recording() as thief:

        async def moved(asked: Asked) -> web.Response:
            return web.Response(status=307, headers={"location": f"{thief.url}{asked.path}"})

        async with recording(moved) as server:
            client = tieline.AsyncClient(server.url, token=TOKEN, workload=WORKLOAD, origin=ORIGIN)
            async with client:
                await until(lambda: "redirect" in client.status.error, what="the redirect said")
                assert TOKEN not in client.status.error
                assert isinstance(client.pick(MODEL), tieline.Shed)
    assert server.asked
    assert thief.asked == []


async def test_a_broken_body_is_refused() -> None:
    """A report that says gzip and isn't gets 400, as does one whose compressed bytes were cut, and one that
    unpacks to too much. A good one in gzip is read."""
    producer = Producer("127.0.0.1:1")
    coded = {"content-type": "application/json", "content-encoding": "gzip"}
    bodies = (b"not gzip at all", gzip.compress(b"{}" * 500)[:-12], gzip.compress(b" " * 20_000_000))
    async with producer, listening(Bounds(), producer) as rig, session() as http:
        for body in bodies:
            async with http.post(f"{rig.url}/v1/reports", data=body, headers=coded) as answer:
                assert answer.status == 400
                assert "content-encoding" in await answer.text()
        whole = gzip.compress(b'{"client": "a"}')
        async with http.post(f"{rig.url}/v1/reports", data=whole, headers=coded) as answer:
            assert "missing required field" in await answer.text()


async def test_who_guesses_tokens_is_refused_even_with_a_valid_one() -> None:
    """Otherwise the answers would tell which guess was right. A wrong token that is shown again is no guess,
    and whether the endpoint lives may be asked all the time."""
    async with listening(Bounds()) as rig, aiohttp.ClientSession() as http:

        async def status(token: str, path: str = "/v1/status") -> int:
            async with http.get(rig.url + path, headers={"authorization": f"Bearer {token}"}) as answer:
                return answer.status

        assert [await status("an-old-token-of-a-client") for _ in range(15)] == [401] * 15
        assert await status(TOKEN) == 200
        assert [await status(f"guess-{number}") for number in range(10)] == [401] * 10
        assert [await status(TOKEN), await status("guess-10")] == [429, 429]
        assert await status(TOKEN, "/v1/health") == 200
        assert rig.answers.counts["requests refused: too many wrong tokens"] == 2
