"""`tieline overlay`: excludes pools at every client, for emergencies in which Kafka or the controllers are
away.

An overlay is signed, lasts at most 4 h, and reaches every client that has the public key through Redis or a
file. It needs no Kafka and no controller. While those work, use `tieline drain`, because then the planner
knows.
"""

import argparse
import asyncio
import getpass
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from controller.cli.terminal import duration_ms, invalid_field, name_context
from controller.core.evidence.reported import pool_loads
from controller.core.policy.check import near_miss
from controller.process.clock import now_ms
from controller.process.connections import connect_redis
from controller.process.errors import UserError
from controller.process.private_key import read_private_key
from controller.process.settings import REDIS, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.routes.overlay_keeper import put_overlay
from controller.status.words import NAMED_MAX, utc
from streams.tables import RedisTables
from tieline.events import in_scope
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.overlay import LASTS_MAX_MS, Overlay, OverlayError, peek, sign, verify
from tieline.signatures import public_keys
from tieline.table import TableError, decode_manifest, decode_slice

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REDIS_WITHIN_S = 5.0
UNITS_MIN = 0.5  # units/s; less is rounding


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand and its own."""
    parser: argparse.ArgumentParser = subparsers.add_parser("overlay", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    exclude = verbs.add_parser(
        "exclude", help="keep every client away from these pools; replaces the overlay before"
    )
    exclude.add_argument(
        "scope", nargs="+", metavar="SCOPE", help="PROVIDER, PROVIDER/REGION or a whole pool"
    )
    exclude.add_argument(
        "--for", dest="duration", default="1h", metavar="TIME", help="how long (1h), at most 4h"
    )
    exclude.add_argument("--unknown", action="store_true", help="accept scopes that the table in Redis lacks")
    withdraw = verbs.add_parser("withdraw", help="end the overlay")
    for verb in (exclude, withdraw):
        verb.add_argument("--reason", required=True, help="why; clients log it")
        verb.add_argument("--actor", help="who issues it (default: your login)")
        verb.add_argument("--key", type=Path, required=True, metavar="FILE", help="private Ed25519 key, PEM")
        verb.add_argument(
            "--out", type=Path, metavar="FILE", help="write it into a file, for overlay= of clients"
        )
        verb.add_argument("--no-redis", action="store_true", help="write the file only")
        verb.add_argument("--dry-run", action="store_true", help="say what it would do, and write nothing")
        add_stack_arguments(verb)
    show = verbs.add_parser("show", help="show what is excluded now, and check the signature")
    show.add_argument("--file", type=Path, metavar="FILE", help="read a file instead of Redis")
    show.add_argument("--public-key", type=Path, metavar="FILE", help="check the signature by it")
    add_stack_arguments(show)
    for verb in (exclude, withdraw, show):
        verb.add_argument("--json", action="store_true", help="one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Returns 0 when it was written or shown. Raises ``UserError``."""
    quiet()
    from_redis = not getattr(args, "no_redis", False) and not getattr(args, "file", None)
    settings = read_settings(args, os.environ, needs=(REDIS,) if from_redis else ())
    name_context(settings)
    return asyncio.run(_show(args, settings) if args.verb == "show" else _issue(args, settings, from_redis))


class OverlayReport(Struct, frozen=True):
    """What `--json` prints. ``overlay``: None if there is none. ``is_verified``: its signature was checked
    and is good; None if it was not checked."""

    overlay: Overlay | None
    written_to_redis: bool = False
    is_verified: bool | None = None


def _print(report: OverlayReport, lines: Sequence[str], *, as_json: bool) -> None:
    print(msgspec.json.encode(report).decode() if as_json else "\n".join(lines))


async def _issue(args: argparse.Namespace, settings: Settings, to_redis: bool) -> int:
    if not to_redis and args.out is None:
        raise UserError("--no-redis needs --out FILE, as the overlay would go nowhere")
    key = read_private_key(args.key)
    overlay = _overlay_of(args, settings.namespace, now_ms())
    data = sign(overlay, key)
    lines: list[str] = []
    if args.dry_run:
        if to_redis and overlay.exclude:
            lines.append(await _load_of(settings, overlay.exclude))
        lines.append("nothing was written")
    elif to_redis:
        known_only = not getattr(args, "unknown", True)
        replaced = await _publish(settings, overlay, data, key, known_only=known_only)
        if replaced:
            lines.append(f"replaces {replaced}, which this key did not sign")
        lines.append(
            f"written to Redis, for clients of namespace {settings.namespace!r} and for `tieline web`"
        )
    if args.out is not None and not args.dry_run:
        _write(args.out, data)
        lines.append(f"written to {args.out}")
    report = OverlayReport(overlay, written_to_redis=to_redis and not args.dry_run)
    _print(report, [*lines, _described(overlay)], as_json=args.json)
    return 0


def _overlay_of(args: argparse.Namespace, namespace: str, issued_ms: int) -> Overlay:
    # A withdrawal lasts as long as any older overlay can, so that an old one in some file does not come back.
    lasts_ms = duration_ms(args.duration) if args.verb == "exclude" else LASTS_MAX_MS
    if lasts_ms > LASTS_MAX_MS:
        raise UserError(f"--for {args.duration}: an overlay lasts at most 4h; use `tieline drain` for longer")
    scopes = [scope.strip().rstrip("/") for scope in getattr(args, "scope", ())]
    overlay = Overlay(
        f"ov-{secrets.token_hex(6)}",
        namespace,
        tuple(scopes),
        issued_ms=issued_ms,
        expires_ms=issued_ms + lasts_ms,
        actor=args.actor or getpass.getuser(),
        reason=args.reason,
    )
    try:
        return msgspec.convert(msgspec.to_builtins(overlay), Overlay)
    except msgspec.ValidationError as error:
        raise UserError(invalid_field(error)) from None


async def _publish(
    settings: Settings, overlay: Overlay, data: bytes, key: "Ed25519PrivateKey", *, known_only: bool
) -> str:
    """Returns what it replaces if that is later and another key signed it, or nobody; else "".

    Only a signature proves that somebody issued it: a forged overlay must not be in the way of a true one.
    """
    replaced = ""
    redis = connect_redis(settings.redis, settings.keys)
    try:
        async with asyncio.timeout(REDIS_WITHIN_S):
            if known_only:
                _check_scopes(overlay.exclude, await _pools(redis, settings))
            stored = await redis.get(settings.keys.overlay)
            if stored and (newer := _newer(stored, overlay)) is not None:
                if _is_signed_by(key, stored, settings.namespace):
                    raise UserError(
                        f"Redis holds an overlay that was issued later ({newer.id}): compare the clocks of "
                        "the machines that issue overlays"
                    )
                replaced = newer.id
            await put_overlay(redis, settings.keys, overlay, data)
    except TimeoutError:
        raise UserError(
            f"Redis did not answer within {REDIS_WITHIN_S:g} s: write a file with --out"
        ) from None
    finally:
        await redis.aclose()
    return replaced


async def _load_of(settings: Settings, scopes: Sequence[str]) -> str:
    """What clients report that the pools of these scopes serve now, which they would no longer be sent."""
    redis = connect_redis(settings.redis, settings.keys)
    try:
        async with asyncio.timeout(REDIS_WITHIN_S):
            loads = pool_loads((await RedisTables(redis, settings.keys).read()).demand, now_ms())
    except (RedisError, OSError, TimeoutError):
        return "what these pools serve now is not known, as Redis can't be read"
    finally:
        await redis.aclose()
    if not loads:
        return "what these pools serve now is not known, as no client reports"
    return load_words(loads, scopes)


def load_words(loads: Mapping[str, float], scopes: Sequence[str]) -> str:
    """Such as ``clients send 1,218 of 4,000 units/s to these pools now, and would no longer: 1,100 to
    azure/swedencentral/gpt-4o, 118 to azure/norwayeast/gpt-4o``."""
    inside = {pool: units for pool, units in loads.items() if any(in_scope(pool, name) for name in scopes)}
    named = sorted(inside, key=lambda pool: (-inside[pool], pool))
    texts = [f"{inside[pool]:,.0f} to {pool}" for pool in named[:NAMED_MAX] if inside[pool] >= UNITS_MIN]
    if more := len(named) - NAMED_MAX:
        texts += [f"and {more} more pools"] if more > 0 else []
    total = f"{sum(inside.values()):,.0f} of {sum(loads.values()):,.0f} units/s"
    where = f": {', '.join(texts)}" if texts else ""
    return f"clients send {total} to these pools now, and would no longer{where}"


def _is_signed_by(key: "Ed25519PrivateKey", stored: bytes, namespace: str) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        verify(stored, public_keys([pem.decode()], "--key"), namespace=namespace, now_ms=now_ms())
    except OverlayError:
        return False
    return True


async def _pools(redis: Any, settings: Settings) -> set[str]:
    """Every pool of the table in Redis; none when there is no table."""
    data = await redis.hget(settings.keys.routes, MANIFEST_FIELD)
    if data is None:
        return set()
    try:
        sums = decode_manifest(data).slices
        parts = await redis.hmget(settings.keys.routes, *map(slice_field, sums))
        slices = zip(parts, sums.values(), strict=True)
        return {info.pool for part, sum_ in slices if part for info in decode_slice(part, sum_).pools}
    except TableError:
        return set()


def _check_scopes(scopes: Sequence[str], pools: set[str]) -> None:
    """Raises ``UserError`` for a scope without pools: a mistyped one would exclude nothing, and nobody would
    see."""
    names = pools | {pool.rsplit("/", 1)[0] for pool in pools} | {pool.split("/")[0] for pool in pools}
    for scope in scopes:
        if pools and not any(in_scope(pool, scope) for pool in pools):
            raise UserError(
                f"the table in Redis has no pool in {scope!r}{near_miss(scope, names)} (--unknown accepts it)"
            )


async def _show(args: argparse.Namespace, settings: Settings) -> int:
    data = _read(args.file) if args.file is not None else await _stored(settings)
    if not data:
        _print(OverlayReport(None), ["there is no overlay"], as_json=args.json)
        return 0
    try:
        report = OverlayReport(peek(data))
        lines = [_described(peek(data))]
        if args.public_key is not None:
            verify(
                data,
                public_keys([args.public_key], "--public-key"),
                namespace=settings.namespace,
                now_ms=now_ms(),
            )
            report = OverlayReport(report.overlay, is_verified=True)
            lines.append("the signature is good, and the overlay is in force")
        else:
            lines.append("its signature was not checked: give --public-key FILE")
    except OverlayError as error:
        raise UserError(f"clients do not honour this overlay: {error}") from None
    _print(report, lines, as_json=args.json)
    return 0


async def _stored(settings: Settings) -> bytes:
    redis = connect_redis(settings.redis, settings.keys)
    try:
        return await redis.get(settings.keys.overlay) or b""
    finally:
        await redis.aclose()


def _newer(stored: bytes, than: Overlay) -> Overlay | None:
    try:
        overlay = peek(stored)
    except OverlayError:
        return None
    return overlay if overlay.issued_ms > than.issued_ms else None


def _described(overlay: Overlay) -> str:
    return (
        f"{overlay.id} by {overlay.actor}, until {utc(overlay.expires_ms)}: {overlay.reason}\n"
        f"excludes {', '.join(overlay.exclude) or 'nothing'}"
    )


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
