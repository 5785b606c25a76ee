"""The file of `tieline notify`: its targets, what each of them wants to know, and where its secrets are.

All of it is checked before anything is sent. An error names the file, the target and the field.
"""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import Meta, Struct

from controller.history.entries import KIND_GROUPS, KINDS
from controller.notify.target import Target
from controller.notify.template import TemplateError, check_template
from controller.process.errors import UserError
from controller.process.secret_places import read_secret
from controller.yaml_reading import UnreadableFileError, read_file

FILE_BYTES_MAX = 1024 * 1024
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
WEBHOOK_BODY = {
    name: f"{{{name}}}"
    for name in (
        "at",
        "kind",
        "phase",
        "severity",
        "about",
        "text",
        "who",
        "why",
        "generation",
        "key",
        "namespace",
    )
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Access(NamedTuple):
    """The secrets of a target, read: never log this."""

    url: str
    routing_key: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Access(...)"


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=50)]


def load_targets(path: Path) -> tuple[Target, ...]:
    """The checked targets of a file. Raises ``UserError``."""
    try:
        data = read_file(path, FILE_BYTES_MAX)
    except UnreadableFileError as error:
        raise UserError(str(error)) from None
    try:
        targets = msgspec.convert(yaml.load(data, Loader=_LOADER), _File).targets
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(
            f"{path}{line}: this is not YAML: {getattr(error, 'problem', None) or 'unreadable'}"
        ) from None
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        field = place.strip("`.") or "the file"
        raise UserError(
            f"{path}: {field}: {what[:1].lower()}{what[1:]}; docs/operating.md has an example"
        ) from None
    names = [target.name for target in targets]
    for target in targets:
        if names.count(target.name) > 1:
            raise UserError(f"{path}: two targets are named {target.name}: give each a name of its own")
        _check(target, f"{path}: target {target.name}")
    return targets


def access_of(target: Target, environment: Mapping[str, str]) -> Access:
    """The secrets of a target, read from where they are. Raises ``UserError``, which repeats none of them."""
    place = f"target {target.name}"
    url = read_secret(target.url, environment, f"{place}: url")
    if target.kind == "pagerduty" and not url:
        url = PAGERDUTY_URL
    _check_url(url, f"{place}: url")
    headers = {
        name: read_secret(value, environment, f"{place}: headers.{name}")
        for name, value in target.headers.items()
    }
    if authorization := read_secret(target.authorization, environment, f"{place}: authorization"):
        headers["Authorization"] = authorization
    for name, value in headers.items():
        if not (
            name.isascii() and value.isascii() and value.isprintable() and name.replace("-", "").isalnum()
        ):
            raise UserError(f"{place}: headers.{name}: a header is one line of ASCII")
    return Access(url, read_secret(target.routing_key, environment, f"{place}: routing_key"), headers)


def _check(target: Target, place: str) -> None:
    for kind in target.events:
        if kind not in KINDS and kind not in KIND_GROUPS:
            choices = ", ".join(sorted({*KINDS, *KIND_GROUPS}))
            raise UserError(f"{place}: events: there is no kind {kind!r}; give some of {choices}")
    if target.kind == "pagerduty" and not target.routing_key:
        raise UserError(
            f"{place}: routing_key: missing; give the integration key, e.g. {{env: PAGERDUTY_KEY}}"
        )
    if target.kind != "pagerduty" and not target.url:
        raise UserError(f"{place}: url: missing; give an address, or {{env: NAME}} or {{file: PATH}}")
    if target.kind != "webhook" and target.body is not None:
        raise UserError(f"{place}: body: only a webhook has one")
    try:
        check_template(target.body)
    except TemplateError as error:
        raise UserError(f"{place}: body: {error}") from None


def _check_url(url: str, place: str) -> None:
    """HTTPS, or HTTP to this machine. The address may be a secret, so the error does not repeat it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.scheme not in ("https", "http"):
        raise UserError(f"{place}: not an address; give https://host/path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise UserError(f"{place}: without TLS only this machine may be told: give https://")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
