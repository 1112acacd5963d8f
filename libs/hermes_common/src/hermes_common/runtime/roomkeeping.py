"""Answers how much room there is on the disks of this process (``hermes_common.room``)."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import nats.errors
from nats.aio.msg import Msg

from hermes_common.room import ASK, Room, Volume
from hermes_common.runtime.bus import Bus

log = logging.getLogger(__name__)

FOLDER = "file://"


def volume_of(what: str, folder: Path) -> Volume:
    """Return the volume that a folder lies on; raises OSError."""
    space = os.statvfs(folder)
    return Volume(what=what, free=space.f_bavail * space.f_frsize, total=space.f_blocks * space.f_frsize)


def store_folder(object_store: str) -> Path | None:
    """Return the folder that is the object store, or None where it is a server."""
    return Path(object_store.removeprefix(FOLDER)) if object_store.startswith(FOLDER) else None


def host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


async def answer_room(bus: Bus, room: Callable[[], Room]) -> None:
    """Answer whoever asks, until cancelled; ``room`` may raise OSError, and nothing is answered then."""
    await bus.ready()

    async def asked(message: Msg) -> None:
        try:
            found = room()
            await message.respond(found.model_dump_json().encode())
        except (OSError, nats.errors.Error) as error:
            log.warning("how much room there is cannot be said: %s", error)

    subscription = await bus.nc.subscribe(ASK, cb=asked)
    try:
        await asyncio.Event().wait()
    finally:
        if bus.nc.is_connected:
            await subscription.unsubscribe()
