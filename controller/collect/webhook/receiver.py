"""The answers to what is pushed: who is let in, what is wrong with it, and whether Kafka has it."""

import asyncio
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiokafka.errors import KafkaError

from controller.collect.collector import UnreadableError
from controller.collect.rounds import Sender
from controller.collect.webhook.alert_book import Alert, AlertBook
from controller.collect.webhook.alerts import read_push
from controller.collect.webhook.event_mode import RefusedEvent, events_in
from controller.collect.webhook.hooks import AlertHook, CloudEventsHook, Hook
from controller.collect.webhook.restored import statements_of
from controller.collect.webhook.secrets_shown import shows_secret
from controller.process import clock
from controller.process.errors import UserError
from controller.process.secret_places import read_secret
from controller.process.wrong_secrets import WrongSecrets
from controller.web.admission import Bounds
from controller.web.answers import decompressed, refusal
from tieline.backoff import Backoff
from tieline.cloudevents import JSON
from tieline.errors import InvalidEventError, ProducerError, RefusedError
from tieline.kafka import Brokers

RETRY_AFTER_S = 10
SEND_AGAIN_EVERY_S = 10.0
RESTORE_FIRST_S, RESTORE_LONGEST_S = 1.0, 30.0
LEFT_OUT_ANSWERED_MAX = 50


class Receiver:
    """The handlers of all hooks. It has what ``controller.web.server.Server`` needs of its answers.

    ``trouble``: why the hooks of alerts can't be answered yet; empty once the earlier statements were read.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        sender: Sender,
        *,
        environment: Mapping[str, str],
        bounds: Bounds,
    ) -> None:
        self.tokens = tuple(hooks)  # every hook has a secret, so the address may be open to others
        self.counts: Counter[str] = Counter()
        self.trouble = "the earlier statements of the hooks' sources were not read yet"
        self._hooks = {hook.name: hook for hook in hooks}
        self._sender = sender
        self._environment = environment
        self._bounds = bounds
        self._wrong_secrets = WrongSecrets()
        self._books = {
            hook.name: AlertBook(hook.name, sender.incarnation, round(hook.expires_after_s * 1_000))
            for hook in hooks
            if isinstance(hook, AlertHook)
        }
        self._locks = {name: asyncio.Lock() for name in self._books}
        self._log = structlog.get_logger("webhook")

    def routes(self) -> list[web.AbstractRouteDef]:
        """Every path and its handler."""
        return [web.post("/v1/hooks/{name}", self.push), web.get("/v1/health", self.health)]

    def allowed(self, _request: web.Request) -> bool:
        """Each hook looks for its own secret, which may be a signature of the body."""
        return True

    async def run(self, kafka: str | Brokers, statements_topic: str) -> None:
        """Reads what was stated before, and then sends again, every few seconds, what Kafka did not take.
        Runs until cancelled."""
        await self._restore(kafka, statements_topic)
        while True:
            await asyncio.sleep(SEND_AGAIN_EVERY_S)
            for name, book in self._books.items():
                async with self._locks[name]:
                    try:
                        refused = await self._state(book, ())
                    except ProducerError as error:
                        self._log.warning("a statement was not sent, and is tried again", why=str(error))
                        continue
                    for why in refused:
                        self._log.error("a statement was refused, and is given up", why=why)

    async def health(self, _request: web.Request) -> web.Response:
        """200 once pushes are taken. Needs no secret."""
        return refusal(503, self.trouble, retry_after_s=RETRY_AFTER_S) if self.trouble else web.Response()

    async def push(self, request: web.Request) -> web.Response:
        """Takes one push. 202: Kafka has all of it."""
        hook = self._hooks.get(request.match_info["name"])
        if hook is None:
            return self._refuse(404, "there is no such hook: the file of the collectors names them")
        peer = request.remote or ""
        if wait_ms := self._wrong_secrets.wait_ms(peer, clock.monotonic_ms()):
            return self._refuse(429, "too many attempts without the hook's secret", wait_ms / 1_000)
        try:
            body = await self._body(request, hook)
            secret = read_secret(hook.secret, self._environment, f"{hook.name}: secret")
        except TimeoutError:
            return self._refuse(408, f"the body did not arrive within {self._bounds.body_within_s:g} s")
        except (zlib.error, ValueError) as error:
            return self._refuse(400, f"the body is not what content-encoding says, or too large: {error}")
        except UserError as error:
            self._log.error("a hook's secret can't be read", hook=hook.name, why=str(error))
            return self._refuse(503, "the hook's secret can't be read here", RETRY_AFTER_S)
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not shows_secret(hook, secret, headers=headers, parameters=request.query, body=body):
            self._wrong_secrets.fail(peer, clock.monotonic_ms())
            answer = self._refuse(401, "the hook's secret is needed: Authorization: Bearer SECRET")
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        return await self._taken(hook, headers, body)

    async def _body(self, request: web.Request, hook: Hook) -> bytes:
        async with asyncio.timeout(self._bounds.body_within_s):
            body = await request.read()
        if len(body) > hook.body_max_bytes:
            raise web.HTTPRequestEntityTooLarge(hook.body_max_bytes, len(body))
        return decompressed(body, request.headers.get("content-encoding", "identity"), hook.body_max_bytes)

    async def _taken(self, hook: Hook, headers: Mapping[str, str], body: bytes) -> web.Response:
        try:
            if isinstance(hook, CloudEventsHook):
                return await self._take_events(hook, headers, body)
            assert isinstance(hook, AlertHook)
            return await self._take_alerts(hook, body)
        except UnreadableError as error:
            return self._refuse(400, str(error))
        except ProducerError as error:
            return self._refuse(503, f"it was not taken, send it again: {error}", RETRY_AFTER_S)

    async def _take_alerts(self, hook: AlertHook, body: bytes) -> web.Response:
        if self.trouble:
            return self._refuse(503, self.trouble, RETRY_AFTER_S)
        push = read_push(hook, body)
        for what in push.left_out:
            self.counts["alerts left out"] += 1
            self._log.warning("a part of a push was left out", hook=hook.name, what=what)
        book = self._books[hook.name]
        async with self._locks[hook.name]:
            book.take(push.alerts, clock.now_ms())
            refused = await self._state(book, push.alerts)
        self.counts["alerts taken"] += len(push.alerts)
        left_out = push.left_out[:LEFT_OUT_ANSWERED_MAX]
        return _answer(422 if refused else 202, {"refused": refused, "left_out": left_out})

    async def _state(self, book: AlertBook, alerts: Sequence[Alert]) -> list[str]:
        """Sends what is due, and returns why some of it was refused. Raises ProducerError when Kafka is away.

        What is refused must not stand in the way of what comes later. So the ``alerts`` that were pushed now
        leave the statement, and if the rest of it is refused too, all of it is given up.
        """
        refused = []
        for leaving in (alerts, None):
            for statement in book.due(clock.now_ms()):
                try:
                    await self._sender.send(statement)
                except (RefusedError, InvalidEventError) as error:
                    refused.append(str(error))
                    book.give_up(statement, leaving)
                else:
                    book.delivered(statement)
                    self.counts["events sent"] += 1
        return refused

    async def _take_events(
        self, hook: CloudEventsHook, headers: Mapping[str, str], body: bytes
    ) -> web.Response:
        content = events_in(headers, body, hook.sources)
        refused = list(content.refused)
        for number, event in content.events:
            try:
                await self._sender.send(event)
                self.counts["events sent"] += 1
            except (RefusedError, InvalidEventError) as error:
                refused.append(RefusedEvent(number, "refused", str(error)))
        self.counts["events refused"] += len(refused)
        report = {
            "taken": len(content.events) + len(content.refused) - len(refused),
            "refused": [event._asdict() for event in sorted(refused)],
        }
        return _answer(422 if refused else 202, report)

    async def _restore(self, kafka: str | Brokers, topic: str) -> None:
        backoff = Backoff(RESTORE_FIRST_S, RESTORE_LONGEST_S)
        while self._books:
            try:
                statements = await statements_of(self._books, kafka, topic)
            except (KafkaError, OSError, TimeoutError, LookupError) as error:
                self.trouble = f"the earlier statements can't be read: {str(error) or type(error).__name__}"
                await asyncio.sleep(backoff.next_s())
                continue
            for statement in statements:
                self._books[statement.source].restore(statement)
            break
        self.trouble = ""

    def _refuse(self, status: int, why: str, retry_after_s: float = 0.0) -> web.Response:
        self.counts[f"pushes refused: {status}"] += 1
        return refusal(status, why, retry_after_s=retry_after_s)


def _answer(status: int, fields: Mapping[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(fields) + b"\n", content_type=JSON)
