"""`tieline overlay`: the emergency overlay, for when Kafka and the controllers can't be waited for.

Excludes pools at every client that was given the public key, for at most 4 h, through Redis or a file. It
needs no Kafka and no controller. Where those work, `tieline drain` is the better way: the planner then knows.
"""

import argparse
import asyncio
import getpass
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from controller.cli.orders import duration_ms
from controller.core.policy.check import near_miss
from controller.process.clock import now_ms
from controller.process.connections import connect_redis
from controller.process.errors import UserError
from controller.process.settings import REDIS, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from tieline.events import in_scope
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.overlay import LASTS_MAX_MS, Overlay, OverlayError, peek, public_keys, sign, verify
from tieline.table import TableError, decode_manifest, decode_slice

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REDIS_WITHIN_S = 5.0


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand and its own."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "overlay", help="exclude pools at every client at once, by signature", description=__doc__
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    exclude = verbs.add_parser(
        "exclude", help="keep every client away from pools; replaces what was excluded"
    )
    exclude.add_argument(
        "scope", nargs="+", metavar="SCOPE", help="PROVIDER, PROVIDER/REGION or a whole pool"
    )
    exclude.add_argument(
        "--for", dest="duration", default="1h", metavar="TIME", help="how long (1h), at most 4h"
    )
    exclude.add_argument("--unknown", action="store_true", help="also scopes that the table in Redis lacks")
    withdraw = verbs.add_parser("withdraw", help="exclude nothing any more")
    for verb in (exclude, withdraw):
        verb.add_argument("--reason", required=True, help="why; clients log it")
        verb.add_argument("--actor", help="who says so (default: the user of this machine)")
        verb.add_argument("--key", type=Path, required=True, metavar="FILE", help="private Ed25519 key, PEM")
        verb.add_argument("--out", type=Path, metavar="FILE", help="write it there, for overlay= of clients")
        verb.add_argument("--no-redis", action="store_true", help="only write the file")
        add_stack_arguments(verb)
    show = verbs.add_parser("show", help="what is excluded now, and whether the signature is good")
    show.add_argument("--file", type=Path, metavar="FILE", help="of a file instead of Redis")
    show.add_argument("--public-key", type=Path, metavar="FILE", help="check the signature by it")
    add_stack_arguments(show)


def run(args: argparse.Namespace) -> int:
    """0 when it was written; raises ``UserError``."""
    quiet()
    from_redis = not getattr(args, "no_redis", False) and not getattr(args, "file", None)
    settings = read_settings(args, os.environ, needs=(REDIS,) if from_redis else ())
    return asyncio.run(_show(args, settings) if args.verb == "show" else _issue(args, settings, from_redis))


async def _issue(args: argparse.Namespace, settings: Settings, to_redis: bool) -> int:
    if not to_redis and args.out is None:
        raise UserError("--no-redis: then give --out FILE, or it goes nowhere")
    key = _private_key(args.key)
    overlay = _made(args, settings.namespace, now_ms())
    data = sign(overlay, key)
    if to_redis:
        await _publish(settings, overlay, data, known_only=not getattr(args, "unknown", True))
        print(f"in Redis, for clients of {settings.namespace!r} and for `tieline web`")
    if args.out is not None:
        _write(args.out, data)
        print(f"in {args.out}")
    print(_said(overlay))
    return 0


def _made(args: argparse.Namespace, namespace: str, issued_ms: int) -> Overlay:
    # A withdrawal lasts as long as any older overlay can: an old one found somewhere must not come back.
    lasts_ms = duration_ms(args.duration) if args.verb == "exclude" else LASTS_MAX_MS
    if lasts_ms > LASTS_MAX_MS:
        raise UserError(f"--for {args.duration}: an overlay lasts at most 4h; use `tieline drain` for longer")
    scopes = [scope.strip().rstrip("/") for scope in getattr(args, "scope", ())]
    overlay = Overlay(
        f"ov-{secrets.token_hex(6)}",
        namespace,
        tuple(scopes),
        issued_ms,
        issued_ms + lasts_ms,
        args.actor or getpass.getuser(),
        args.reason,
    )
    try:
        return msgspec.convert(msgspec.to_builtins(overlay), Overlay)
    except msgspec.ValidationError as error:
        raise UserError(f"the overlay can't be made: {error}") from None


async def _publish(settings: Settings, overlay: Overlay, data: bytes, *, known_only: bool) -> None:
    redis = connect_redis(settings.redis)
    try:
        async with asyncio.timeout(REDIS_WITHIN_S):
            if known_only:
                _check_scopes(overlay.exclude, await _pools(redis, settings))
            held = await redis.get(settings.keys.overlay)
            if held and (newer := _newer(held, overlay)) is not None:
                raise UserError(f"a newer overlay lies in Redis ({newer.id}): look at the clocks")
            await redis.set(settings.keys.overlay, data, pxat=overlay.expires_ms)
            await redis.publish(settings.keys.routes_hint, f"overlay:{overlay.id} 1")
    except TimeoutError:
        raise UserError(
            f"Redis did not answer within {REDIS_WITHIN_S:g} s: write a file with --out"
        ) from None
    finally:
        await redis.aclose()


async def _pools(redis: Any, settings: Settings) -> set[str]:
    """Every pool of the table in Redis; none when there is no table."""
    data = await redis.hget(settings.keys.routes, MANIFEST_FIELD)
    if data is None:
        return set()
    try:
        sums = decode_manifest(data).slices
        parts = await redis.hmget(settings.keys.routes, *map(slice_field, sums))
        found = zip(parts, sums.values(), strict=True)
        return {info.pool for part, sum_ in found if part for info in decode_slice(part, sum_).pools}
    except TableError:
        return set()


def _check_scopes(scopes: Sequence[str], pools: set[str]) -> None:
    """A scope that is mistyped would exclude nothing, unnoticed."""
    known = pools | {pool.rsplit("/", 1)[0] for pool in pools} | {pool.split("/")[0] for pool in pools}
    for scope in scopes:
        if pools and not any(in_scope(pool, scope) for pool in pools):
            raise UserError(
                f"the table has nothing within {scope!r}{near_miss(scope, known)} (or give --unknown)"
            )


async def _show(args: argparse.Namespace, settings: Settings) -> int:
    data = _read(args.file) if args.file is not None else await _stored(settings)
    if not data:
        print("no overlay")
        return 0
    try:
        print(_said(peek(data)))
        if args.public_key is not None:
            verify(data, public_keys([args.public_key]), namespace=settings.namespace, now_ms=now_ms())
            print("the signature is good and it holds now")
    except OverlayError as error:
        raise UserError(f"it is not honoured: {error}") from None
    return 0


async def _stored(settings: Settings) -> bytes:
    redis = connect_redis(settings.redis)
    try:
        return await redis.get(settings.keys.overlay) or b""
    finally:
        await redis.aclose()


def _newer(held: bytes, than: Overlay) -> Overlay | None:
    try:
        found = peek(held)
    except OverlayError:
        return None
    return found if found.issued_ms > than.issued_ms else None


def _said(overlay: Overlay) -> str:
    until = datetime.fromtimestamp(overlay.expires_ms / 1000, UTC)
    return (
        f"{overlay.id} by {overlay.actor}, until {until:%Y-%m-%d %H:%M:%S} UTC: {overlay.reason}\n"
        f"excludes {', '.join(overlay.exclude) or 'nothing'}"
    )


def _private_key(path: Path) -> "Ed25519PrivateKey":
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise UserError("cryptography is not installed: pip install 'tieline[overlay]'") from None
    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError):  # what was wrong could repeat some of the key
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(
            f"{path}: no Ed25519 private key in PEM, unencrypted, as "
            "`openssl genpkey -algorithm ed25519 -out FILE` makes them"
        )
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from None
