"""An SSH server as a target: one file for each instance over SFTP, under a name made of the template.

The server has to show the key that is pinned in the settings. A file is written under a temporary name, made durable
where the server can, and renamed over in one step: only then is it delivered. asyncssh runs on a loop of its own in
the sending thread; every call has a time limit.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar

import asyncssh

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, parse_file_meta
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.dicom.connect import connect
from hermes_common.runtime.dicom.errors import Unreachable
from hermes_common.targets import SftpTarget
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.feeding import beside, name_of, one_by_one, part10
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.adapters.targets.steps import Steps, TroubleError, reach
from hermes_dispatcher.core.outcomes import Delivered, NotDelivered, Outcome, Trouble

T = TypeVar("T")

_OTHER_KEY: Final = (
    "the server shows another host key than the one that is pinned: if it was changed on purpose, put the new one into "
    "the target; if not, somebody may be in between"
)
_BLOCK: Final = 256 * 1024
_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_LOST = (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost)
_CLOSED = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect)
_ABSENT = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)

asyncssh.set_log_level("WARNING")


class SftpSender:
    """Writes files over one connection."""

    def __init__(self, target: SftpTarget) -> None:
        self._target = target
        self._made: set[str] = set()

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:
        """Send them; see :class:`~hermes_dispatcher.adapters.targets.interface.Sender`."""
        with asyncio.Runner() as runner:
            try:
                session = runner.run(self._open(self._target.connect_timeout, self._target.response_timeout))
            except TroubleError as error:
                return error.outcome
            loop = runner.get_loop()

            def kill() -> None:
                loop.call_soon_threadsafe(session.connection.abort)

            permit.killed_by(kill)
            try:
                return one_by_one(
                    items, supply, report, permit, lambda item, prepared: runner.run(self._put(session, item, prepared))
                )
            finally:
                permit.killed_by(None)
                runner.run(session.close())

    def test(self, steps: Steps) -> None:
        """Resolve, connect, compare the host key and sign in, look for the folder."""
        target = self._target
        sock = reach(steps, target.host, target.port, None)
        with asyncio.Runner() as runner:
            session = steps.take(
                "host key and sign in",
                lambda: runner.run(self._open(steps.limit, steps.limit, sock)),
                lambda made: f"{target.user} is let in by {made.version}",
            )
            try:
                steps.take(
                    "look for the folder",
                    lambda: runner.run(self._look(session)),
                    lambda _: f"{target.folder} is there",
                )
            finally:
                runner.run(session.close())

    async def _open(self, connecting: timedelta, answering: timedelta, sock: Any = None) -> "_Session":
        target = self._target
        secret = target.private_key.get_secret_value()
        try:
            host_key = asyncssh.import_public_key(target.host_key)
            keys = [asyncssh.import_private_key(secret)] if secret else None
        except (asyncssh.KeyImportError, ValueError) as error:
            if sock is not None:
                sock.close()
            raise TroubleError(Trouble.REJECTED, f"a key in the target's settings cannot be read: {error}") from error
        try:
            if sock is None:
                sock = connect(target.host, target.port, connecting)
            async with asyncio.timeout(connecting.total_seconds() + answering.total_seconds()):
                connection = await asyncssh.connect(
                    target.host,
                    target.port,
                    sock=sock,
                    config=[],
                    known_hosts=([host_key], [], []),
                    username=target.user,
                    password=target.password.get_secret_value() or None,
                    client_keys=keys,
                    agent_path=None,
                    gss_host=None,
                    login_timeout=answering.total_seconds(),
                    keepalive_interval=15,
                )
                client = await connection.start_sftp_client()
        except Unreachable as error:
            raise TroubleError(Trouble.UNREACHABLE, str(error)) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise _trouble(error, f"signing in at {target.host}:{target.port}") from error
        return _Session(connection, client, answering)

    async def _look(self, session: "_Session") -> None:
        with _translated(f"looking for {self._target.folder}"):
            if not await session.limited(session.client.isdir(self._target.folder)):
                raise TroubleError(Trouble.REJECTED, f"there is no folder {self._target.folder}; make it")

    async def _put(self, session: "_Session", item: Item, prepared: Prepared) -> Outcome:
        name = name_of(self._target.path_template, item, prepared)
        digest = item.instance.digest
        with _translated(f"writing {name}"):
            found = await session.digest_of(self._path(name))
            if found is not None and found != digest:
                name = beside(name, digest)
                found = await session.digest_of(self._path(name))
            if found != digest:
                await self._write(session, self._path(name), prepared)
        return Delivered(note=f"as {name}")

    def _path(self, name: str) -> str:
        return str(PurePosixPath(self._target.folder) / name)

    async def _write(self, session: "_Session", path: str, prepared: Prepared) -> None:
        client, place = session.client, PurePosixPath(path)
        await self._make(session, str(place.parent))
        temporary = str(place.with_name(f".{new_id()}.part"))
        try:
            file = await session.limited(client.open(temporary, "wb"))
            try:
                for chunk in part10(prepared)[1]:
                    for start in range(0, len(chunk), _BLOCK):
                        await session.limited(file.write(chunk[start : start + _BLOCK]))
                with contextlib.suppress(asyncssh.SFTPOpUnsupported):  # fsync@openssh.com
                    await session.limited(file.fsync())
            finally:
                await session.limited(file.close())
            await session.limited(client.posix_rename(temporary, path))
        except (asyncssh.Error, OSError, TimeoutError):
            with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
                await session.limited(client.remove(temporary))
            raise

    async def _make(self, session: "_Session", folder: str) -> None:
        """Make the folders below the target's own, which has to be there."""
        if folder in self._made:
            return
        if not self._made and not await session.limited(session.client.isdir(self._target.folder)):
            raise TroubleError(Trouble.UNREACHABLE, f"there is no folder {self._target.folder}; make or mount it")
        await session.limited(session.client.makedirs(folder, exist_ok=True))
        self._made.add(folder)


class _Session:
    """A connection with an SFTP session on it."""

    def __init__(self, connection: Any, client: Any, limit: timedelta) -> None:
        self.connection = connection
        self.client = client
        self._limit = limit.total_seconds()

    @property
    def version(self) -> str:
        """What the server calls itself."""
        return str(self.connection.get_extra_info("server_version", "the server"))

    async def limited(self, call: Awaitable[T]) -> T:
        """Return what a call to the server returns; TimeoutError if it does not within the time limit."""
        async with asyncio.timeout(self._limit):
            return await call

    async def digest_of(self, path: str) -> str | None:
        """Return the SHA-256 of the data set in a file, an empty text if it is no DICOM file, None if it is absent."""
        try:
            file = await self.limited(self.client.open(path, "rb"))
        except _ABSENT:
            return None
        try:
            return await _digest(self._blocks(file))
        finally:
            await self.limited(file.close())

    async def _blocks(self, file: Any) -> AsyncIterator[bytes]:
        while block := await self.limited(file.read(_BLOCK)):
            yield block

    async def close(self) -> None:
        """End in order, or at least end."""
        self.client.exit()
        self.connection.close()
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self.connection.wait_closed()
        self.connection.abort()


async def _digest(blocks: AsyncIterator[bytes]) -> str:
    """Return the SHA-256 of a data set, or an empty text where there is no DICOM file."""
    head = b""
    async for block in blocks:
        head += block
        if len(head) >= MAX_META_LENGTH + 132:
            break
    try:
        found = hashlib.sha256(head[parse_file_meta(head).offset :])
    except NotPart10:
        return ""
    async for block in blocks:
        found.update(block)
    return found.hexdigest()


@contextlib.contextmanager
def _translated(step: str) -> Any:
    try:
        yield
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise _trouble(error, step) from error


def _trouble(error: Exception, step: str) -> TroubleError:
    words = str(error) or type(error).__name__
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return TroubleError(Trouble.REJECTED, _OTHER_KEY)
    if isinstance(error, asyncssh.PermissionDenied):
        return TroubleError(Trouble.REJECTED, f"the server does not let us in: {words}; check user, password, key")
    if isinstance(error, TimeoutError):
        return TroubleError(Trouble.UNREACHABLE, f"the server did not answer within its time limit while {step}")
    if isinstance(error, asyncssh.SFTPError) and not isinstance(error, _LOST):
        trouble = Trouble.REJECTED if isinstance(error, _CLOSED) else Trouble.BUSY
        cause = "no space left" if isinstance(error, _FULL) else "refused" if isinstance(error, _CLOSED) else "failed"
        return TroubleError(trouble, f"{cause} while {step}: {words}")
    return TroubleError(Trouble.UNREACHABLE, f"the connection was lost while {step}: {words}")
