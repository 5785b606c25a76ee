"""Tokens are read anew without a restart when the file changes, or another one that it names a token in.

Every worker looks by itself every few seconds, so all of them follow within that time. Only ``tokens`` are
taken from the new file: everything else is fixed when the gateway starts, and a change of it is told in the
log. A file with a mistake changes nothing, and neither does one that lacks all tokens, by which everybody
could call: those in force stay, and the log says why.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from controller.process.errors import SettingError, UserError
from controller.process.secret_places import SecretPlace
from controller.process.telemetry import logger
from gateway.callers import Callers
from gateway.configuration import GatewayFile, load_gateway
from gateway.levels import LevelsFullError

LOOK_EVERY_S = 2.0
Signature = tuple[int, ...]


class Rereading:
    """Follows the file at ``path``, of which ``file`` was read. Without a path nothing changes."""

    def __init__(self, path: Path | None, file: GatewayFile, environment: Mapping[str, str]) -> None:
        self._path = path
        self._file = file
        self._environment = environment
        self._files: dict[Path, Signature] = {}

    def first(self) -> Callers:
        """The callers to begin with. A worker that is started again was given the file of back then, so it is
        read anew; if that fails, the callers are those of back then. Raises ``UserError`` if there are
        none."""
        try:
            return self.changed() or Callers(self._file, self._environment)
        except UserError as error:
            _tell_failure(error)
            return Callers(self._file, self._environment)

    async def run(self, take: Callable[[Callers], None]) -> None:
        """Looks every few seconds, and hands the callers of a changed file to ``take``, which may raise
        ``LevelsFullError``. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if (callers := await asyncio.to_thread(self.changed)) is not None:
                    take(callers)
                    logger("gateway").info("the tokens were read anew", callers=len(callers))
            except (UserError, LevelsFullError) as error:
                _tell_failure(error)

    def changed(self) -> Callers | None:
        """The callers, where a file has changed since the last call, or none has been made; None else. It
        blocks. Raises ``UserError`` for a file that can't be taken, once for each change."""
        if self._path is None:
            return None
        files = {path: _signature(path) for path in self._paths(self._file)}
        if files == self._files:
            return None
        self._files = files
        file = load_gateway(self._path)
        self._check(file)
        # Looked at before they are read, so that a change that comes in between shows the next time.
        files = {path: files.get(path) or _signature(path) for path in self._paths(file)}
        callers = Callers(file, self._environment)
        self._file, self._files = file, files
        return callers

    def _check(self, file: GatewayFile) -> None:
        if self._file.tokens and not file.tokens:
            raise SettingError(
                f"{self._path}: it has no tokens any more, and without any everybody may call: if that is "
                "meant, start the gateway again"
            )
        if replace(file, tokens=()) != replace(self._file, tokens=()):
            logger("gateway").warning("only tokens are read anew: other changes need a restart")

    def _paths(self, file: GatewayFile) -> Iterator[Path]:
        """The file itself, and those of the tokens that it names."""
        if self._path is not None:
            yield self._path
        for token in file.tokens:
            if token.secret is not None and (path := self._path_of(token.secret)):
                yield Path(path)

    def _path_of(self, place: SecretPlace) -> str:
        return place.file or self._environment.get(f"{place.env}_FILE", "")


def _tell_failure(error: Exception) -> None:
    text = "the tokens could not be read anew: those before stay in force"
    logger("gateway").error(text, reason=str(error))


def _signature(path: Path) -> Signature:
    """What changes when a file is written or replaced; empty for one that can't be looked at."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return state.st_mtime_ns, state.st_size, state.st_ino
