"""The producer of a process that is a source: of `tieline probe`, `tieline collect` and `tieline emit`.

Where the policy binds a source to ``public_keys``, its events count only with a signature by one of them. The
private key is in the file that TIELINE_SOURCE_KEY_FILE names, for every such process. A process has one key,
so several sources of one process have the same key in the policy.
"""

from controller.process.errors import UserError
from controller.process.private_key import SOURCE_KEY_FILE, read_private_key
from controller.process.settings import Settings
from tieline.producer import Producer


def source_producer(settings: Settings, source: str | None = None) -> Producer:
    """A producer that signs each event with the source's key, if there is one. ``source``: the name that the
    producer observes under. Raises ``UserError`` for a key that can't be used."""
    if settings.source_key is not None:
        try:
            read_private_key(settings.source_key)
        except UserError as error:
            raise UserError(f"{SOURCE_KEY_FILE}: {error}") from None
    return Producer(settings.kafka, source=source, prefix=settings.namespace, signing_key=settings.source_key)
