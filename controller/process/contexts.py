"""Named contexts: a file of the user's own that says where each installation is, as kubeconfig does.

The file is ``config.yaml`` in ``$XDG_CONFIG_HOME/tieline``, else in ``~/.config/tieline``::

    current: prod
    contexts:
      prod: {kafka: "kafka-1:9093", kafka_ca_file: ca.pem, redis: "rediss://redis:6379/0", namespace: tieline}
      lab: {kafka: "127.0.0.1:9092", redis: "redis://127.0.0.1:6379/0"}

A field has the name of its variable without ``TIELINE_``, in small letters, and ``FIELDS`` lists them; the
file of the operator's private key is ``key_file``, that of the controllers' public keys
``controller_keys_file``, and that of a source's private key ``source_key_file``. There is no field for a
password, only for files that hold one: the context file may then be shown to anybody. Paths are relative to
the file.

What counts: a flag such as ``--kafka``, then a variable, then the context that TIELINE_CONTEXT names, else
the current one. ``--context`` is a flag, so what it names counts before every variable. These rules keep
installations apart:

- A context that was typed replaces all variables in ``FIELDS``, also those that it has no field for. Only the
  operator's key is taken from its variable if the context names none.
- The security fields of Kafka and of Redis (``kafka_*``, ``redis_*``) belong to the address in the same
  context. They don't count when the address comes from a flag or a variable.
- A current context is left out as a whole when both addresses come from elsewhere, and for processes that run
  until they are ended (``follows_current=False``): those follow only a context that was named for them.

Tests: tests/unit/controller/process/test_contexts.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from controller.process.errors import SettingError

CONTEXT = "TIELINE_CONTEXT"
OPERATOR_KEY_FILE = "TIELINE_OPERATOR_KEY_FILE"
FILE_MAX_BYTES = 1024 * 1024
_KAFKA = ("tls", "ca_file", "cert_file", "key_file", "sasl", "user", "password_file", "token_file")
_REDIS = (
    *("ca_file", "cert_file", "key_file", "user", "password_file"),
    *("sentinel_user", "sentinel_password_file"),
)
FIELDS = {
    **{name: f"TIELINE_{name.upper()}" for name in ("kafka", "redis", "namespace")},
    **{f"kafka_{name}": f"TIELINE_KAFKA_{name.upper()}" for name in _KAFKA},
    **{f"redis_{name}": f"TIELINE_REDIS_{name.upper()}" for name in _REDIS},
    "key_file": OPERATOR_KEY_FILE,
    "controller_keys_file": "TIELINE_CONTROLLER_KEYS_FILE",
    "source_key_file": "TIELINE_SOURCE_KEY_FILE",
}
ADDRESSES = {"kafka": "Kafka", "redis": "Redis"}
FLAGS = ("context", "kafka", "redis", "namespace")
_VARIABLES = {
    *FIELDS.values(),
    "TIELINE_KAFKA_PASSWORD",
    "TIELINE_REDIS_PASSWORD",
    "TIELINE_REDIS_SENTINEL_PASSWORD",
} - {OPERATOR_KEY_FILE}


class Contexts(NamedTuple):
    """A context file: the name of the current context, empty if there is none, and each context's fields."""

    path: Path
    current: str = ""
    contexts: Mapping[str, Mapping[str, str]] = {}


class Place(NamedTuple):
    """Where a command finds its settings. ``environment``: the variables, with those of the context added.

    ``context``: the name of the context, empty without one. ``origins``: field -> the flag, variable or
    context that its value comes from.
    """

    environment: Mapping[str, str]
    context: str
    origins: Mapping[str, str]

    @property
    def words(self) -> str:
        """The context for people, with what comes from elsewhere: ``context prod, Kafka by --kafka``."""
        if not self.context:
            return ""
        others = [
            f"{name} by {self.origins[field]}"
            for field, name in ADDRESSES.items()
            if field in self.origins and self.origins[field] != self.context
        ]
        return ", ".join([f"context {self.context}", *others])


def config_path(environment: Mapping[str, str]) -> Path | None:
    """Where the context file is; None for a process without a home."""
    if base := environment.get("XDG_CONFIG_HOME", ""):
        return Path(base) / "tieline" / "config.yaml"
    home = environment.get("HOME", "")
    return Path(home) / ".config" / "tieline" / "config.yaml" if home else None


def read_contexts(path: Path) -> Contexts:
    """The context file; one without contexts if there is no such file. Raises SettingError."""
    try:
        text = path.read_bytes()[: FILE_MAX_BYTES + 1].decode()
    except FileNotFoundError:
        return Contexts(path)
    except UnicodeDecodeError:
        raise SettingError(f"{path} is not text in UTF-8") from None
    except OSError as error:
        raise SettingError(f"{path} can't be read: {error.strerror}") from None
    if len(text) > FILE_MAX_BYTES:
        raise SettingError(f"{path} has more than {FILE_MAX_BYTES} bytes: it is no context file")
    import yaml  # only users who have a context file pay for it

    try:
        document = yaml.safe_load(text) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingError(f"{path} is not YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(document, dict) or (strange := set(document) - {"current", "contexts"}):
        more = f", not {', '.join(sorted(map(str, strange)))}" if isinstance(document, dict) else ""
        raise SettingError(f"{path}: give `contexts:` and perhaps `current:`{more}")
    listed = document.get("contexts") or {}
    if not isinstance(listed, dict):
        raise SettingError(f"{path}: `contexts:` must map names to contexts")
    contexts = {str(name): _fields(path, str(name), fields) for name, fields in listed.items()}
    return Contexts(path, str(document.get("current") or ""), contexts)


def find(file: Contexts, name: str, origin: str) -> Mapping[str, str]:
    """The context of this name. Raises SettingError; ``origin`` says who asked for it."""
    if name in file.contexts:
        return file.contexts[name]
    listed = f"it has {', '.join(sorted(file.contexts))}" if file.contexts else "it has no contexts"
    raise SettingError(f"{origin}: there is no context {name!r} in {file.path}: {listed}")


def place_of(
    flags: Mapping[str, Any], environment: Mapping[str, str], *, follows_current: bool = True
) -> Place:
    """Where one command finds its settings. ``flags``: what was typed, by field; ``context`` is one of them.

    Raises SettingError.
    """
    name, origin = flags.get("context") or environment.get(CONTEXT, ""), CONTEXT
    typed = bool(flags.get("context"))
    outside = _outside(flags, environment, typed=typed)
    path = config_path(environment)
    follows_current = follows_current and not (name or ADDRESSES.keys() <= outside.keys())
    if path is None or not (name or follows_current):
        if name:
            raise SettingError(f"{CONTEXT}: there is no context file without HOME or XDG_CONFIG_HOME")
        return Place(environment, "", outside)
    file = read_contexts(path)
    if typed:
        origin = "--context"
    elif not name:
        name, origin = file.current, f"`current:` in {path}"
    if not name:
        return Place(environment, "", outside)
    fields = find(file, name, origin)
    used = {field: value for field, value in fields.items() if _counts(field, outside)}
    added = {FIELDS[field]: value for field, value in used.items()}
    others = {key: value for key, value in environment.items() if not (typed and key in _VARIABLES)}
    return Place({**others, **added}, name, origins={**dict.fromkeys(used, name), **outside})


def _outside(flags: Mapping[str, Any], environment: Mapping[str, str], *, typed: bool) -> dict[str, str]:
    """Field -> the flag or variable that it comes from before a context is asked. Variables count less than a
    context that was ``typed``."""
    origins = {}
    for field, variable in FIELDS.items():
        if flags.get(field) is not None:
            origins[field] = f"--{field}"
        elif environment.get(variable) and not typed:
            origins[field] = variable
    return origins


def _counts(field: str, outside: Mapping[str, str]) -> bool:
    """Whether a context's field counts beside what comes from ``outside``."""
    address = field.partition("_")[0]
    return field not in outside and not (address in ADDRESSES and address in outside)


def _fields(path: Path, name: str, fields: Any) -> dict[str, str]:
    """The fields of one context as text, paths made absolute. Raises SettingError."""
    if not isinstance(fields, dict):
        raise SettingError(f"{path}: the context {name} must map fields to values, such as kafka: host:9092")
    texts = {}
    for field, value in fields.items():
        place = f"{path}: contexts.{name}.{field}"
        if field not in FIELDS:
            if "password" in str(field):
                raise SettingError(
                    f"{place}: a password does not belong there: write it into a file, and name that file by "
                    f"{str(field).partition('_')[0]}_password_file"
                )
            raise SettingError(f"{place}: there is no such field: give one of {', '.join(FIELDS)}")
        if not isinstance(value, str | int | bool):
            raise SettingError(f"{place}: give a text")
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if field == "redis" and _has_password(text):
            raise SettingError(
                f"{place}: a password does not belong there: write it into a file, and name that file by "
                "redis_password_file"
            )
        texts[field] = str(path.parent / Path(text).expanduser()) if field.endswith("_file") else text
    return texts


def _has_password(url: str) -> bool:
    try:
        return bool(urlsplit(url).password)
    except ValueError:
        return False  # the address is refused for what is wrong with it
