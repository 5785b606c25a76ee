"""Where a request belongs: by its path, its headers and its caller."""

import pytest

from gateway.callers import Caller
from gateway.configuration import GatewayFile, ServedWorkload
from gateway.placing import Misplaced, Place, Placing

PLACING = Placing(
    GatewayFile(
        workloads=(
            ServedWorkload("chat", ("eu", "us")),
            ServedWorkload("batch", ("eu", "asia"), path="/batch"),
            ServedWorkload("secret", ("eu",)),
        )
    )
)
CALLER = Caller("a", "chat", "us", may_use=frozenset({"chat", "batch"}))


@pytest.mark.parametrize(
    ("target", "workload", "origin", "expected"),
    [
        ("/v1/chat/completions", "", "", Place("chat", "us", "/chat/completions")),
        ("/v1/files?limit=3", "", "", Place("chat", "us", "/files?limit=3")),
        ("/v1/chat/completions", "", "eu", Place("chat", "eu", "/chat/completions")),
        ("/v1/chat/completions", "batch", "", Place("batch", "eu", "/chat/completions")),
        ("/v1/chat/completions", "batch", "asia", Place("batch", "asia", "/chat/completions")),
        ("/batch/v1/embeddings", "", "", Place("batch", "eu", "/embeddings")),
        ("/batch/v1/embeddings", "chat", "", Place("batch", "eu", "/embeddings")),
        ("/v1/files?q=/v1/", "", "", Place("chat", "us", "/files?q=/v1/")),
        ("/v1beta/models/m:generateContent", "", "", Place("chat", "us", "/models/m:generateContent")),
        ("/v1/models/m:countTokens", "", "", Place("chat", "us", "/models/m:countTokens")),
        (
            "/batch/v1beta1/publishers/google/models/m:streamGenerateContent?alt=sse",
            "",
            "",
            Place("batch", "eu", "/models/m:streamGenerateContent?alt=sse"),
        ),
        (
            "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
            "",
            "",
            Place("chat", "us", "/models/m:generateContent"),
        ),
    ],
)
def test_path_goes_before_header_and_header_before_token(
    target: str, workload: str, origin: str, expected: Place
) -> None:
    """The token's own origin holds for its own workload only."""
    assert PLACING.place(target, CALLER, workload, origin) == expected


@pytest.mark.parametrize(
    ("target", "workload", "origin", "status", "words"),
    [
        ("/chat/completions", "", "", 404, "/v1/..., /batch/v1/..."),
        ("/other/v1/chat/completions", "", "", 404, "nothing at this path"),
        ("/v1beta/models/m:tune", "", "", 404, "nothing at this path"),
        ("/other/v1beta/models/m:generateContent", "", "", 404, "nothing at this path"),
        ("/v1beta/files", "", "", 404, "nothing at this path"),
        ("http://elsewhere/v1/chat/completions", "", "", 404, "nothing at this path"),
        ("/v1/chat/completions", "secret", "", 403, "may use batch, chat, not secret"),
        ("/v1/chat/completions", "none", "", 403, "not none"),
        ("/v1/chat/completions", "", "asia", 400, "chat has no origin asia; it has eu, us"),
    ],
)
def test_a_request_that_belongs_nowhere_is_told_why(
    target: str, workload: str, origin: str, status: int, words: str
) -> None:
    """With what would be right."""
    misplaced = PLACING.place(target, CALLER, workload, origin)
    assert isinstance(misplaced, Misplaced)
    assert misplaced.status == status
    assert words in misplaced.text
