"""PURE. Every fault of the stand-ins as a case, and what is to be found of it without clients."""

from typing import Any, Literal, NamedTuple, TypeAlias

Worst: TypeAlias = Literal["down", "degraded", "healthy"]
PROCESS_FAULTS = ("killed", "paused")
MODELS = ("m-1", "m-2")
HARD_DOWN_REPLICAS = 4


class Case(NamedTuple):
    """One fault: ``order`` as ``lab.standins.faults.FaultOrder`` takes it, without its pools; of a process it
    is only the ``kind`` in ``PROCESS_FAULTS``.

    ``worst``: the worst state that probes alone lead to, or healthy for what they don't find. ``why_not``:
    why they don't, for readers. ``replicas``: how many pools have the fault, so that the instants between two
    probes are tried. ``is_hard_down``: nothing of the pool is served any more.
    """

    name: str
    order: dict[str, Any]
    worst: Worst
    why_not: str = ""
    replicas: int = 1
    is_hard_down: bool = False

    @property
    def kind(self) -> str:
        """The kind of fault."""
        return str(self.order["kind"])

    @property
    def is_of_process(self) -> bool:
        """Whether a whole stand-in process meets it."""
        return self.kind in PROCESS_FAULTS


def _fault(name: str, worst: Worst, kind: str, why_not: str = "", **fields: Any) -> Case:
    return Case(name, {"kind": kind, **fields}, worst, why_not=why_not)


def _hard_down(name: str, kind: str, **fields: Any) -> Case:
    order = {"kind": kind, **fields}
    return Case(name, order, "down", replicas=HARD_DOWN_REPLICAS, is_hard_down=True)


_ONE_NAME = "one name of several may be the policy's own mistake"
_USUAL = "how slow is usual is learnt from clients"
_OWN_KEY = "a throttled probe says something of the prober's key"
_NEW_CONNECTION = "each probe has a connection of its own"
_OTHER_PROMPTS = "no probe is struck"
_FEW = "a probe comes every two seconds, so that a limit on more requests does not strike it"
CASES = (
    _hard_down("connections are refused", "refuse"),
    _hard_down("connections are reset", "reset"),
    _hard_down("requests hang", "hang"),
    _hard_down("the process is killed", "killed"),
    _hard_down("the process is paused", "paused"),
    _hard_down("503 to everything", "503"),
    _hard_down("another 5xx to everything", "status", status=529),
    _hard_down("a page of HTML with status 200", "body", content="html"),
    _fault("an empty body with status 200", "down", "body", content="empty"),
    _fault("half a JSON document with status 200", "down", "body", content="broken_json"),
    _fault("an error object with status 200", "down", "body", content="error_only"),
    _fault("401: the key is refused", "down", "401"),
    _fault("401 until another secret comes", "down", "token_revoked"),
    _fault("404: the model is unknown", "down", "404"),
    _fault("404 for one model of two", "healthy", "404", _ONE_NAME, model="m-1"),
    _fault("400 to everything", "down", "400"),
    _fault("answers stall", "down", "stall"),
    _fault("answers are cut", "down", "cut"),
    _fault("streams end without their last event", "degraded", "end_without_done"),
    _fault("streams end with an error", "degraded", "error_event"),
    _fault("503 for one model of two", "degraded", "503", model="m-1"),
    _fault("503 for long prompts only", "degraded", "503", word="fifty"),
    _fault("503 to three requests of ten", "degraded", "503", share=0.3),
    _fault("first tokens come later than the time-out", "down", "slow_first_token", delay_ms=6_000),
    _fault("first tokens are 1.5 s later", "healthy", "slow_first_token", _USUAL, delay_ms=1_500),
    _fault("429 to everything", "healthy", "429", _OWN_KEY),
    _fault("429 beyond 20 requests/s", "healthy", "burst", _FEW, requests_per_s=20.0),
    _fault("503 to prompts that no prober sends", "healthy", "503", _OTHER_PROMPTS, word="applications"),
    _fault("idle connections are reset", "healthy", "stale_connections", _NEW_CONNECTION),
    _fault("streams of another dialect", "healthy", "dialect", "it is no fault", dialect="no_done"),
)  # fmt: skip
