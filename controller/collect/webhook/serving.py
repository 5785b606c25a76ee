"""The webhook as a part of the process: where it listens, its bounds, and its figures for the monitor."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from controller.collect.rounds import Sender
from controller.collect.webhook.hooks import Hook, WebhookSettings
from controller.collect.webhook.receiver import Receiver
from controller.process.listening import read_listen
from controller.process.monitor import Figure, labelled
from controller.web.admission import Bounds
from controller.web.server import Server

CONNECTIONS_MAX = 500


def bounds_of(hooks: Sequence[Hook], requests_per_s: float) -> Bounds:
    """The bounds of the server. A body may be as large as the widest of the hooks takes."""
    return Bounds(
        connections_max=CONNECTIONS_MAX,
        requests_per_s=requests_per_s,
        burst=2 * requests_per_s,
        body_max_bytes=max(hook.body_max_bytes for hook in hooks),
    )


@asynccontextmanager
async def listening(settings: WebhookSettings, sender: Sender) -> AsyncIterator[Receiver]:
    """Listens as long as the context lasts. ``Receiver.run`` is the caller's. Raises SettingError."""
    bounds = bounds_of(settings.hooks, settings.requests_per_s)
    receiver = Receiver(settings.hooks, sender, environment=os.environ, bounds=bounds)
    certificate = Path(settings.certificate) if settings.certificate else None
    listen = read_listen(settings.listen, certificate, Path(settings.key) if settings.key else None)
    log = structlog.get_logger("webhook")
    async with Server(listen, receiver, bounds).listening() as url:
        log.info("listening", url=url, hooks=[hook.name for hook in settings.hooks])
        if not listen.is_loopback and listen.certificate is None:
            log.warning("secrets travel unencrypted: give certificate and key, or put TLS in front")
        yield receiver


def figures_of(receiver: Receiver) -> list[Figure]:
    """What the webhook took and refused, for the monitor."""
    counts = {name: float(count) for name, count in sorted(receiver.counts.items())}
    text = "pushes and events by what became of them"
    return [labelled("webhook_pushes", text, "outcome", values=counts, counter=True)]
