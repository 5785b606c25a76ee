"""Others, measured beside Tieline in the same run: an environment of their own, made on demand from
`requirements-peers.lock`, so that none of their packages ever comes near the product's.

Where it can't be had the run says so and goes on without them.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench._frame import Case

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path(__file__).with_name("requirements-peers.lock")
INSTALL_MAX_S = 240
RUN_MAX_S = 300


def say(text: str) -> None:
    """To whoever watches the run."""
    sys.stderr.write(f"tieline: {text}\n")


@lru_cache(1)
def python() -> str | None:
    """The peers' Python; None when their packages can't be had, which is said."""
    name = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = ROOT / ".cache" / f"peers-{name}"
    program, stamp = place / "bin" / "python", place / "ready"
    if stamp.exists():
        return str(program)
    say("fetching LiteLLM into an environment of its own, for comparison only")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        pip = [
            str(program),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--retries",
            "2",
            "install",
            "-q",
            "--no-deps",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True, timeout=INSTALL_MAX_S)
    except (OSError, subprocess.SubprocessError) as error:
        say(f"LiteLLM can't be had, the run goes on without it: {error}")
        return None
    stamp.touch()
    return str(program)


def litellm_proxy(folder: Path, url: str, model: str, token: str) -> list[str] | None:
    """The command of LiteLLM's proxy for one model at this URL; None when it can't be had. Its file is put
    into the folder."""
    program = python()
    if program is None:
        return None
    deployment = {"model": "openai/big", "api_base": url, "api_key": "none"}
    settings = {
        "model_list": [{"model_name": model, "litellm_params": deployment}],
        "general_settings": {"master_key": token},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    path = folder / "litellm.yaml"
    path.write_text(json.dumps(settings))
    return [str(Path(program).with_name("litellm")), "--config", str(path), "--host", "127.0.0.1"]


def litellm(what: str, **settings: Any) -> Iterator[Case]:
    """Cases that `_litellm.py` measures under that name; none when it can't be had."""
    program = python()
    if program is None:
        return
    asked = [program, str(Path(__file__).with_name("_litellm.py")), what, json.dumps(settings)]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=RUN_MAX_S, check=True)
    except subprocess.SubprocessError as error:
        words = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        say(f"LiteLLM was not measured: {words[-1] if words else error}")
        return
    found: Mapping[str, Mapping[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    for name, case in found.items():
        yield Case(name, case["unit"], case["samples"])
