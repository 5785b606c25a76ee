"""Inputs that are written by hand: one rule in each."""

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tieline.table import MILLION, Adapter, ClientSettings, ModelOffer
from tools.conformance.plain import Json, plain_of
from tools.conformance.worlds import START_MS, any_table, info, table

A, B, C = "azure/swedencentral/gpt-4o", "gcp/europe-west4/gemini", "oci/uk-london-1/gpt-oss"
SESSIONS = [*(f"conv-{number}" for number in range(60)), "", "Grüße", "会話-7", "🦊"]
MODEL = "chat-large"


def affinity() -> Iterator[Json]:
    """Sessions onto pools."""
    sets: list[tuple[str, list[tuple[str, int]]]] = [
        ("two pools", [(A, 700_000), (B, 300_000)]),
        ("a pool with one millionth", [(A, 999_999), (B, 1)]),
        ("the order does not matter", [(C, 10), (A, 20), (B, 70)]),
        ("no weight, no sessions", [(A, 0), (B, 5)]),
        ("forty pools", [(f"p{n % 3}/r{n}/m", 1 + n * n) for n in range(40)]),
    ]
    for name, weights in sets:
        for out in ([], [weights[0][0]]):
            yield {"name": name, "weights": weights, "out": out, "sessions": SESSIONS}


def tables() -> Iterator[Json]:
    """Tables that may be used, and tables that must not."""
    good = plain_of(table({A: 700_000, B: 300_000}, on_loss={"azure": {B: MILLION}}, last_resort=[C], seq=4))
    older = plain_of(table({A: MILLION}, seq=3))
    yield {"name": "a good table", "table": good}
    yield {"name": "a newer one", "table": good, "in_force": older}
    yield {"name": "an older one", "table": older, "in_force": good}
    yield {"name": "the same one", "table": good, "in_force": good}
    yield {
        "name": "another lineage",
        "table": {**good, "generation": "other:9:9"},
        "in_force": older,
    }
    yield {
        "name": "a later epoch",
        "table": {**good, "generation": "test:2:1"},
        "in_force": good,
    }
    yield {
        "name": "a lineage with colons",
        "table": {**good, "generation": "a:b:2:10"},
        "in_force": {**good, "generation": "a:b:2:9"},
    }
    yield {"name": "no route", "table": {**good, "routes": []}}
    yield {"name": "no generation", "table": {name: good[name] for name in good if name != "generation"}}
    yield {"name": "an epoch that is no number", "table": {**good, "generation": "test:x:1"}}
    for name, change in _spoilt(good["routes"][0]):
        yield {"name": name, "table": {**good, "routes": [change]}}


def _spoilt(route: Json) -> Iterator[tuple[str, Json]]:
    pools = route["pools"]
    yield "weights that do not sum to a million", {**route, "shed_ppm": 1}
    yield "a pool with two weights", {**route, "pools": [pools[0], {**pools[0], "weight_ppm": 300_000}]}
    yield "a negative weight", {**route, "pools": [{**pools[0], "weight_ppm": -1}, pools[1]]}
    yield "a weight with a fraction", {**route, "pools": [{**pools[0], "weight_ppm": 0.5}, pools[1]]}
    yield "all is shed, without a reason", {**route, "pools": [], "shed_ppm": MILLION}
    yield "all is shed", {**route, "pools": [], "shed_ppm": MILLION, "shed_reason": "no room"}
    lost = {"azure": {"pools": [{**pools[0], "weight_ppm": MILLION}], "shed_ppm": 0}}
    yield "weight on a lost provider", {**route, "on_loss": lost}
    lost = {"azure": {"pools": [], "shed_ppm": 5}}
    yield "a loss that does not sum to a million", {**route, "on_loss": lost}
    yield "a last resort that is named twice", {**route, "last_resort": route["last_resort"] * 2}


def exclusions() -> Iterator[Json]:
    """What an emergency overlay takes out of a table."""
    plain = plain_of(
        table(
            {A: 500_000, B: 300_000, C: 199_997}, on_loss={"azure": {B: 600_000, C: 399_999}}, last_resort=[A]
        )
    )
    for exclude in ([], ["azure"], ["gcp/europe-west4"], [C], [A, B, C], ["az"], ["nobody"], [B, C]):
        yield {"name": f"without {', '.join(exclude) or 'nothing'}", "table": plain, "exclude": exclude}
    for seed in range(6):
        chance = random.Random(seed)
        made = any_table(chance)
        pools = [row.pool for row in made.parts["eu"].pools]
        exclude = chance.sample(pools, min(2, len(pools)))
        yield {"name": f"seed {seed}", "table": plain_of(made), "exclude": exclude}


NAMES = (
    "content_filter",
    "context_length_exceeded",
    "unsupported_parameter",
    "previous_response_not_found",
    "model_not_found",
    "DeploymentNotFound",
    "insufficient_quota",
    "rate_limit_exceeded",
    "overloaded_error",
    "invalid_prompt",
    "UNAVAILABLE",
    "something_else",
)
SHAPES_OF_ERRORS = (
    '{"error":{"message":"no","code":"%s"}}',
    '{"type":"error","code":"%s","message":"no"}',
    '[{"error":{"status":"%s","message":"no"}}]',
    '{"detail":{"reason":"%s"}}',
    '{"error":{"message":"no","innererror":{"code":"%s"}}}',
)
MESSAGES = (
    "This model's maximum context length is 8192 tokens.",
    "The model `big` does not exist or you do not have access to it.",
    "Unrecognized request argument supplied: foo",
    "Deployment big-2 not found",
    "no",
)


def answers() -> Iterator[Json]:
    """What statuses and errors mean."""
    for status in (200, 204, 301, *range(400, 432), 451, 499, 500, 501, 502, 503, 504, 529, 599):
        yield {"name": f"{status}", "status": status, "body": "", "names_model": True}
    for status, name in itertools.product((400, 403, 404, 422, 429, None), NAMES):
        for shape in SHAPES_OF_ERRORS[:2] if status else SHAPES_OF_ERRORS:
            body = shape % name
            yield {"name": f"{status} {name}", "status": status, "body": body, "names_model": True}
    for status, text in itertools.product((400, 404, None), MESSAGES):
        body = json.dumps({"error": {"message": text}})
        for names_model in (True, False):
            yield {"name": f"{status} {text}", "status": status, "body": body, "names_model": names_model}
    plain = {"status": 404, "body": "not JSON", "names_model": True}
    yield {"name": "the URL names the deployment", **plain, "names_deployment": True}
    for should_retry, status in itertools.product(("true", "false", "maybe"), (400, 503, 401)):
        yield {
            "name": f"x-should-retry: {should_retry} with {status}",
            "status": status,
            "body": "{}",
            "names_model": True,
            "should_retry": should_retry,
        }


def bodies() -> Iterator[Json]:
    """Bodies of answers with a good status."""
    texts = (
        "",
        "  \n",
        "<html>",
        '{"id":"c","choices":[',
        '{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}',
        '{"id":"c","choices":[{"message":{"content":""}}]}',
        '{"id":"c","choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":3}}',
        '{"data":[],"usage":{"input_tokens":9,"output_tokens":1}}',
        '{"error":{"message":"m","code":"model_not_found"}}',
        '{"error":null,"id":"r","object":"response"}',
        '{"object":"response","status":"failed","error":{"code":"server_error","message":"m"}}',
        '{"object":"error","message":"m","code":"rate_limit_exceeded"}',
        '{"type":"error","error":{"type":"overloaded_error","message":"m"}}',
        '[{"error":{"code":503,"status":"UNAVAILABLE","message":"m"}}]',
        "[1,2]",
        "7",
    )
    for text, is_creation, retry_empty in itertools.product(texts, (True, False), (False, True)):
        if retry_empty and "choices" not in text:
            continue
        yield {"name": text[:30], "body": text, "is_creation": is_creation, "retry_empty": retry_empty}


def waits() -> Iterator[Json]:
    """What headers ask to wait."""
    for headers in (
        {},
        {"Retry-After": "2"},
        {"Retry-After": "0.25"},
        {"Retry-After": "-3"},
        {"Retry-After": "100000"},
        {"Retry-After": "soon"},
        {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"},
        {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"},
        {"retry-after-ms": "150", "retry-after": "9"},
        {"retry-after-ms": "x", "retry-after": "9"},
    ):
        now_epoch_ms = 1_792_567_678_500
        yield {"name": json.dumps(headers), "headers": headers, "now_epoch_ms": now_epoch_ms}


def limits() -> Iterator[Json]:
    """How long attempts may take."""
    settings = msgspec.to_builtins(ClientSettings())
    slow = msgspec.to_builtins(ModelOffer(MODEL, "o", first_token_timeout_ms=45_000))
    whole = msgspec.to_builtins(ModelOffer(MODEL, "o", whole_answer_timeout_ms=90_000))
    for stream, offer, usual_ms, (left_ms, part_ms) in itertools.product(
        (True, False),
        (None, slow, whole),
        (0, 4_200.5),
        ((600_000, None), (8_000, None), (20_000, 10_000), (5_000, 2_500), (5_000, 5_000), (40_000, 40_000)),
    ):
        case = {"stream": stream, "settings": settings, "offer": offer, "usual_ms": usual_ms}
        yield {
            "name": f"{'stream' if stream else 'whole'}, {left_ms} ms left, part {part_ms}",
            **case,
            "left_ms": left_ms,
            "part_ms": part_ms,
            "output_tokens_max": None if usual_ms else 24,
            "is_costly": not stream and left_ms == 8_000,
            "lately_ms": 300 if left_ms == 600_000 else None,
        }


def shapes() -> Iterator[Json]:
    """URLs and headers of the providers."""
    urls: dict[Adapter, str] = {
        "openai": "https://llm.example.com/v1/",
        "azure": "https://x.openai.azure.com/openai/v1",
        "azure_classic": "https://x.openai.azure.com",
        "vertex": "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi",
        "oci": "https://inference.generativeai.uk-london-1.oci.oraclecloud.com/openai/v1",
    }
    asked = (("/chat/completions", "gpt 4/o"), ("/files?limit=2", ""), ("/embeddings?api-version=1", "e"))
    for (adapter, url), (path, model), is_token in itertools.product(urls.items(), asked, (False, True)):
        yield {
            "name": f"{adapter} {path}",
            "adapter": adapter,
            "url": url,
            "path": path,
            "model": model,
            "secret": "s3cret",
            "is_token": is_token,
        }


def destinations() -> Iterator[Json]:
    """Where a secret may be sent."""
    urls: list[tuple[Adapter, str]] = [
        ("openai", "http://127.0.0.1:8000/v1"),
        ("openai", "http://localhost:8000/v1"),
        ("openai", "http://[::1]:8000/v1"),
        ("openai", "http://llm.example.com/v1"),
        ("openai", "https://llm.example.com/v1"),
        ("azure", "https://x.openai.azure.com/openai/v1"),
        ("azure_classic", "https://x.openai.azure.com"),
        ("azure", "https://x.openai.azure.com.evil.example/openai/v1"),
        ("vertex", "https://europe-west4-aiplatform.googleapis.com/v1"),
        ("oci", "https://inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com/openai/v1"),
    ]
    hosts: Sequence[tuple[str, list[str]]] = (
        ("no hosts are named", []),
        ("one host", ["llm.example.com"]),
        ("a pattern", ["*.openai.azure.com"]),
        ("an origin", ["http://llm.example.com"]),
    )
    for name, allowed in hosts:
        yield {"name": name, "hosts": allowed, "urls": urls}
        yield {"name": f"{name}, in the other order", "hosts": allowed, "urls": urls[::-1]}


def scenarios() -> Iterator[Json]:
    """Steps that each show one rule."""
    three = {A: 400_000, B: 300_000, C: 300_000}
    base: Json = {"origin": "eu", "phase": 0.25, "chances": [1.0]}
    pick = {"do": "pick", "model": MODEL}
    yield {
        "name": "every weight is honoured, one millionth included",
        **base,
        "table": plain_of(table({A: 600_000, B: 350_000, C: 1})),
        "steps": [{**pick, "at_ms": START_MS} for _ in range(25)],
    }
    fails = {"do": "ended", "pool": A, "model": MODEL, "result": "server_error"}
    yield {
        "name": "five straight failures, a half-open trial, and a return by steps",
        **base,
        "table": plain_of(table(three, on_loss={"azure": {B: 500_000, C: 500_000}})),
        "steps": [
            *({**fails, "at_ms": START_MS} for _ in range(5)),
            *({**pick, "at_ms": START_MS + 10} for _ in range(4)),
            {**pick, "at_ms": START_MS + 1_000},
            {**fails, "at_ms": START_MS + 1_005},
            {**pick, "at_ms": START_MS + 3_010},
            *({**fails, "result": "ok", "at_ms": START_MS + 3_020 + n * 1_000} for n in range(6)),
            *({**pick, "at_ms": START_MS + 9_000} for _ in range(4)),
        ],
    }
    yield {
        "name": "needs leave out pools that do not meet them",
        **base,
        "table": plain_of(
            table(three, infos={A: info(A, [ModelOffer(MODEL, "long", 128_000, ("vision",))])})
        ),
        "steps": [
            {**pick, "at_ms": START_MS, "needs": {"context_tokens": tokens, "features": features}}
            for tokens, features in ((9_000, []), (0, ["vision"]), (0, ["tools"]), (200_000, []), (0, ["x"]))
        ],
    }
    yield _left_of_a_lost_provider(base)
    refused = {"do": "ended", "pool": A, "model": MODEL, "result": "auth", "blame": "request"}
    yield {
        "name": "five different requests that are refused are a fault of the pool",
        **base,
        "table": plain_of(table(three)),
        "steps": [{**refused, "subject": number, "at_ms": START_MS} for number in (1, 1, 2, 3, 4, 5)],
    }


def _left_of_a_lost_provider(base: Json) -> Json:
    """Most of a provider is out. Without it the table sheds all, or has no pool with so long a context."""
    still_in, last = "azure/northeurope/gpt-4o", [C]
    split = {A: 600_000, still_in: 400_000}
    long = {pool: info(pool, [ModelOffer(MODEL, "long", 128_000)]) for pool in split}
    pick = {"do": "pick", "model": MODEL, "at_ms": START_MS}
    lost = {"do": "ended", "pool": A, "model": MODEL, "result": "auth", "at_ms": START_MS}
    short = table(split, on_loss={"azure": {B: MILLION}}, infos=long, last_resort=last)
    return {
        "name": "what is left of a lost provider",
        **base,
        "table": plain_of(table(split, on_loss={"azure": {}}, last_resort=last)),
        "steps": [
            lost,
            pick,
            *({**pick, "exclude": tried} for tried in ([""], [A], [A, still_in])),
            {"do": "table", "table": plain_of(short), "at_ms": START_MS},
            *({**pick, "needs": {"context_tokens": most, "features": []}} for most in (0, 50_000, 200_000)),
        ],
    }


ROLE = 'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = 'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hé"},"finish_reason":null}]}\n\n'
END = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
DONE = "data: [DONE]\n\n"
ERROR = 'data: {"error":{"code":"%s","message":"no"}}\n\n'
CREATED = 'event: response.created\ndata: {"type":"response.created","response":{"id":"r"}}\n\n'
DELTA = 'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}\n\n'
COUNTS = '"usage":{"input_tokens":1,"output_tokens":2}'
LAST = 'data: {"type":"response.%s","response":{"id":"r",' + COUNTS + "%s}}\n\n"
CHAT, RESPONSES = "/chat/completions", "/responses"
STREAMS = (
    (CHAT, "whole", ROLE + WORD + WORD + END + USAGE + DONE),
    (CHAT, "without an end", ROLE + WORD + WORD),
    (CHAT, "ended by its body", ROLE + WORD + END),
    (CHAT, "cut in a role", ROLE),
    (CHAT, "comments before output", ": wait\n\n" * 3 + ROLE + ": wait\n\n" + WORD + END + DONE),
    (CHAT, "an error first", ROLE + ERROR % "server_error"),
    (CHAT, "a full pool, first", ERROR % "rate_limit_exceeded"),
    (CHAT, "an error of the caller, first", ERROR % "invalid_prompt"),
    (CHAT, "an error after output", ROLE + WORD + ERROR % "server_error" + DONE),
    (CHAT, "full after output", ROLE + WORD + ERROR % "rate_limit_exceeded"),
    (CHAT, "an error by its event's name", ROLE + "event: error\ndata: no\n\n"),
    (CHAT, "a choice that fails", ROLE + END.replace("stop", "error")),
    (CHAT, "no JSON", ROLE + "data: {broken\n\n"),
    (CHAT, "CR LF", (ROLE + WORD + END + DONE).replace("\n", "\r\n")),
    (CHAT, "CR", (ROLE + WORD + END + DONE).replace("\n", "\r")),
    (CHAT, "seventy early chunks", ROLE * 70),
    (CHAT, "two data lines", 'data: {"choices":\ndata: [{"delta":{"content":"x"}}]}\n\n' + DONE),
    (CHAT, "no empty line at the end", ROLE + WORD + END + DONE.strip()),
    (CHAT, "a byte order mark", "\ufeff" + WORD + DONE),
    (RESPONSES, "whole", CREATED + DELTA + DELTA + LAST % ("completed", "")),
    (RESPONSES, "without its last event", CREATED + DELTA),
    (RESPONSES, "failed", CREATED + LAST % ("failed", ',"error":{"code":"server_error"}')),
    (RESPONSES, "failed after output", CREATED + DELTA + LAST % ("failed", "")),
    (RESPONSES, "a limit that was asked for", CREATED + LAST % ("incomplete", "")),
    (
        RESPONSES,
        "incomplete",
        CREATED + LAST % ("incomplete", ',"incomplete_details":{"reason":"overloaded_error"}'),
    ),
    (
        RESPONSES,
        "a filter",
        CREATED + DELTA + LAST % ("incomplete", ',"incomplete_details":{"reason":"content_filter"}'),
    ),
    ("/unknown", "any protocol", "data: x\n\n" * 3),
    (
        "/audio/speech",
        "a speech",
        'data: {"type":"speech.audio.delta"}\n\ndata: {"type":"speech.audio.done"}\n\n',
    ),
)


def streams() -> Iterator[Json]:
    """Streams of events, whole and broken."""
    for (path, name, text), (size, clean) in itertools.product(
        STREAMS, ((1, True), (64, True), (10_000, False))
    ):
        case: dict[str, Any] = {"path": path, "answers": 1, "text": text, "piece_bytes": size, "clean": clean}
        yield {"name": f"{path} {name}, {size} bytes at a time", **case}
    for answers in (1, 2):
        two = ROLE + WORD + END + END.replace('"index":0', '"index":1')
        case = {"path": CHAT, "answers": answers, "text": two, "piece_bytes": 50, "clean": True}
        yield {"name": f"{answers} choices", **case}
