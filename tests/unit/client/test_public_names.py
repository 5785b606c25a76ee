"""The public names and modules of the client library: exactly these, and loaded only when they are used."""

import importlib
import subprocess
import sys
from pathlib import Path

import tieline
import tieline.metrics
import tieline.testing

MODULES = (
    *("backoff", "blame", "cancelling", "cloudevents", "credentials", "errors", "events", "kafka", "keys"),
    *("event_fields", "forwarding", "leader_events", "metrics", "offers"),
    *(
        "misfits",
        "model_paths",
        "order_signing",
        "overlay",
        "private_files",
        "producer",
        "providers",
        "proxying",
        "quantiles",
        "redis_address",
        "redis_client",
        "redis_primary",
        "registration",
        "signatures",
        "table",
        "table_hints",
        "testing",
        "tls_faults",
        "identity_tokens",
        "topics",
        "unknown_values",
    ),
    "request_signing",
)


def test_a_module_without_an_underscore_is_public() -> None:
    """And no other module is."""
    package = Path(tieline.__file__).parent
    names = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert {name for name in names if not name.startswith("_")} == set(MODULES) == set(tieline._MODULES)


def test_public_names() -> None:
    """They are sorted, can be imported, have one home each, and are exactly these."""
    homes = [name for names in tieline._HOMES.values() for name in names]
    assert sorted(homes) == tieline.__all__
    assert tieline.__all__ == sorted(tieline.__all__)
    assert set(tieline.__all__) == {
        *("Applied", "AsyncClient", "Client", "ClosedError", "ConfigurationError", "MissingExtraError"),
        *("Brokers", "EntraToken", "ForHosts", "GoogleToken", "OciSigner"),
        *("Needs", "Outcome", "Producer", "Reason", "ResultClass", "Route", "Shed", "State", "Status"),
        *("TielineError", "Timeouts", "Token", "offline", "options"),
        *("Delivery", "InvalidEventError", "KafkaUnavailableError", "MissingCredentialError"),
        *("MissingTopicError", "ProducerClosedError", "ProducerError", "ProducerStatus", "Refusal"),
        *("RefusedError", "StreamRestartedError", "SyncProducer", "TooLargeError"),
    }
    module = importlib.import_module("tieline")
    assert all(getattr(module, name) is not None for name in tieline.__all__)
    assert tieline.testing.__all__ == ["FakePools", "Fault", "Request"]
    assert tieline.metrics.__all__ == ["opentelemetry", "prometheus"]


def test_public_modules_need_no_import_of_their_own() -> None:
    """``tieline.testing`` and the others are there after ``import tieline``, and are loaded when used."""
    program = (
        "import sys, tieline\n"
        "assert 'tieline.metrics' not in sys.modules\n"
        f"for name in {MODULES}:\n"
        "    assert getattr(tieline, name).__name__ == f'tieline.{name}'\n"
        "    assert name in dir(tieline)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
