"""Providers that speak OpenAI's own shape under a base URL of their own.

OpenAI-compatible servers (CoreWeave, vLLM: ``https://host/v1``), Vertex AI
(``https://LOC-aiplatform.googleapis.com/v1/projects/P/locations/LOC/endpoints/openapi``, models
``google/...``) and OCI (``https://inference.generativeai.REGION.oci.oraclecloud.com/openai/v1``), all with
a bearer key or token.
"""


def url(base: str, path: str, model: str) -> str:  # noqa: ARG001  one call shape for all adapters
    """Base and path joined; the model travels in the body."""
    return base.rstrip("/") + path


def bearer(secret: str, is_token: bool) -> tuple[bytes, bytes]:  # noqa: ARG001
    """``Authorization: Bearer``, for keys and tokens alike."""
    return b"authorization", b"Bearer " + secret.encode("latin-1")
