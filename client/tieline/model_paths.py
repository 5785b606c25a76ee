"""PURE. Google's Gemini API, whose requests name the model and what is asked of it in their path:

    /models/MODEL:generateContent            a whole answer
    /models/MODEL:streamGenerateContent      a stream of events with ``alt=sse``, else one JSON list
    /models/MODEL:countTokens                how long a prompt is
    /models/MODEL:embedContent               a vector

What stands before ``/models`` names an API's version, a project and a place, which each pool has of its own.
On Vertex AI a model also has a publisher: a name such as ``google/NAME`` says which, as for the other API
there, and a bare name is Google's.

Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
"""

from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote, urlencode

from msgspec import Struct

STREAM = "streamGenerateContent"
VERBS = frozenset({"generateContent", STREAM, "countTokens", "embedContent"})
PUBLISHER = "google"
# Where Google's APIs take a secret in the query: the caller's own, which no provider may see.
_SECRETS = frozenset({"key", "access_token"})
_MODELS = "/models/"
PATHS_KEPT = 1_024


class ModelPath(Struct, frozen=True):
    """Such a path. ``query``: what follows the question mark, without the caller's secrets."""

    model: str
    verb: str
    query: str = ""

    @property
    def streams(self) -> bool:
        """Whether the answer comes as a stream of events."""
        return self.verb == STREAM and ("alt", "sse") in parse_qsl(self.query)

    def under(self, base_url: str, model: str) -> str:
        """The URL under a base URL that ends before ``/models``, with the pool's own name for the model."""
        return f"{base_url.rstrip('/')}{_MODELS}{quote(model, safe='@-._')}:{self.verb}" + (
            f"?{self.query}" if self.query else ""
        )

    def on_vertex(self, base_url: str, model: str) -> str:
        """The URL at Vertex AI. ``base_url``: of a place in a project there, also where it names the endpoint
        of the other API, as in ``.../locations/LOCATION/endpoints/openapi``."""
        publisher, _, name = (model or self.model).rpartition("/")
        place = base_url.partition("/endpoints/")[0].rstrip("/")
        return self.under(f"{place}/publishers/{publisher or PUBLISHER}", name)


@lru_cache(PATHS_KEPT)
def model_path(path: str) -> ModelPath | None:
    """The parts of ``/models/MODEL:verb``, which may have a query; None for every other path."""
    if not path.startswith(_MODELS):
        return None
    name, _, query = path.removeprefix(_MODELS).partition("?")
    model, _, verb = name.rpartition(":")
    if not model or verb not in VERBS:
        return None
    fields = [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if key not in _SECRETS]
    return ModelPath(unquote(model), verb, query=urlencode(fields))
