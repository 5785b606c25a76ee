"""The streams of each API, and the dialects in which servers write them."""

import msgspec
import pytest

from lab.standins import streams, wire
from lab.standins.apis import APIS, Api, api_of, kept_id
from tieline.providers.streams import StreamReader

REQUEST = wire.ModelRequest("m", 10, 24, finish_reason="stop", stream=True, include_usage=False)
STREAMED = [api for api in APIS if api.stream is not None]


def stream(api: Api) -> bytes:
    """A whole stream of this API."""
    assert api.stream is not None
    writer = api.stream(REQUEST, "id", 1)
    return writer.opening() + b"".join(event for _, event in writer.contents(8)) + writer.ending()


@pytest.mark.parametrize("dialect", [None, *streams.DIALECTS])
@pytest.mark.parametrize("api", STREAMED, ids=lambda api: api.path)
def test_every_stream_is_complete_in_every_dialect(api: Api, dialect: str | None) -> None:
    """The client library sees output, the end and no error in each stream, however a server writes it."""
    reader = StreamReader(api.path)
    reader.feed(streams.in_dialect(stream(api), dialect))
    result = reader.close(clean=True)
    assert (reader.phase.value, result.value, reader.ended, reader.error) == ("output", "ok", True, None)


def test_dialects_change_only_how_events_are_written() -> None:
    """Each leaves out or replaces what its name says, and nothing else."""
    events = b'event: a\ndata: {"text": "event: "}\n\n' + streams.DONE
    assert streams.in_dialect(events, "no_done") == b'event: a\ndata: {"text": "event: "}\n\n'
    assert streams.in_dialect(events, "no_event_lines") == b'data: {"text": "event: "}\n\n' + streams.DONE
    assert streams.in_dialect(events, "cr") == events.replace(b"\n", b"\r")
    assert streams.in_dialect(events, "crlf").count(b"\r\n") == events.count(b"\n")


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.path)
def test_paths_lead_to_their_api(api: Api) -> None:
    """Whatever stands before the end of a path, it leads to its API."""
    assert api_of(f"/openai/deployments/m{api.path}") == api_of(f"/v1{api.path}") == api
    assert api_of("/v1/cookies") is None


def test_what_is_kept_has_a_path_of_its_own() -> None:
    """Files, batches and responses are found under their ids, and a file's bytes under ``/content``."""
    assert kept_id("/v1/files/file-1") == kept_id("/v1/files/file-1/content") == ("/files", "file-1")
    assert kept_id("/v1/batches") == ("/batches", "")
    assert kept_id("/v1/responses/resp_1") == ("/responses", "resp_1")
    assert kept_id("/v1/cookies/1") is None


@pytest.mark.parametrize(
    ("path", "body", "tokens", "count"),
    [
        ("/completions", {"prompt": ["x" * 8, "y" * 8]}, 4, 1),
        ("/responses", {"input": [{"role": "user", "content": [{"text": "x" * 12}]}]}, 3, 1),
        ("/embeddings", {"input": ["x" * 8, "y" * 8]}, 4, 2),
        ("/images/generations", {"prompt": "x" * 4, "n": 3}, 1, 3),
    ],
)
def test_requests_of_each_api_are_counted(
    path: str, body: dict[str, object], tokens: int, count: int
) -> None:
    """Prompts are counted wherever an API has them, and so is how many answers are asked for."""
    api = api_of(path)
    assert api is not None
    read = wire.parse_request(
        msgspec.json.encode({"model": "m", **body}),
        path,
        required=api.required,
        needs_model=api.needs_model,
        tokens_default=1,
        tokens_max=1,
    )
    assert (read.prompt_tokens, read.count) == (tokens, count)
