"""PURE: the APIs that a stand-in serves, by the ends of their paths: one row each."""

from collections.abc import Callable
from typing import Final, NamedTuple

from lab.standins import own_shapes, streams, wholes, wire
from lab.standins.streams import StreamWriter
from lab.standins.wire import ModelRequest

JSON: Final = "application/json"


class Api(NamedTuple):
    """One API. ``path``: how the paths of its requests end. ``required``: the field that a request must have.
    ``whole`` and ``stream`` write answers from the request, the answer's id and the seconds of its creation;
    without ``stream`` every answer is whole. ``keeps``: the answer can be asked for again by its id."""

    path: str
    required: str
    whole: Callable[[ModelRequest, str, int], bytes]
    stream: Callable[[ModelRequest, str, int], StreamWriter] | None = None
    id_prefix: str = ""
    needs_model: bool = True
    keeps: bool = False
    media_type: str = JSON


# The first row whose path fits counts.
APIS: Final = (
    Api(
        "/chat/completions",
        "messages",
        wholes.chat_completion,
        stream=streams.ChatStream,
        id_prefix="chatcmpl-",
    ),
    Api("/completions", "prompt", wholes.completion, stream=streams.CompletionStream, id_prefix="cmpl-"),
    Api("/responses", "input", wholes.response, stream=streams.ResponseStream, id_prefix="resp_", keeps=True),
    Api("/embeddings", "input", wholes.embeddings),
    Api("/images/generations", "prompt", wholes.images, stream=streams.ImageStream),
    Api("/images/edits", "file", wholes.images, stream=streams.EditStream),
    Api("/audio/transcriptions", "file", wholes.transcription, stream=streams.TranscriptionStream),
    Api("/audio/translations", "file", wholes.transcription),
    Api("/audio/speech", "input", wholes.speech, stream=streams.SpeechStream, media_type="audio/mpeg"),
    Api("/messages", "messages", own_shapes.message, stream=own_shapes.MessageStream, id_prefix="msg_"),
    Api(":generateContent", "contents", own_shapes.generated),
    Api(wire.GEMINI_STREAM, "contents", own_shapes.generated, stream=own_shapes.GeneratedStream),
    Api("/moderations", "input", wholes.moderation, id_prefix="modr-", needs_model=False),
    Api("/files", "file", wholes.file_object, id_prefix="file-", needs_model=False, keeps=True),
    Api("/batches", "input_file_id", wholes.batch, id_prefix="batch_", needs_model=False, keeps=True),
)
KEPT_PATHS: Final = tuple(api.path for api in APIS if api.keeps)


def api_of(path: str) -> Api | None:
    """The API that a POST to this path asks. Only the end of the path counts, so that the prefixes of all
    providers fit."""
    return next((api for api in APIS if path.endswith(api.path)), None)


def kept_id(path: str) -> tuple[str, str] | None:
    """(the path of the API, an id of what it keeps or "" for all of it) of a GET or DELETE; None for any
    other path."""
    parent, _, name = path.removesuffix("/content").rpartition("/")
    for api_path in KEPT_PATHS:
        if path.endswith(api_path):
            return api_path, ""
        if parent.endswith(api_path):
            return api_path, name
    return None
