"""Settings of the dispatcher, from the environment."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hermes_common.durations import Duration
from hermes_common.runtime.settings import ObjectStoreSettings, RuntimeSettings, SealingSettings


class Settings(RuntimeSettings, ObjectStoreSettings, SealingSettings):
    """What the dispatcher needs: the bus and the object store."""

    dispatcher_lease: Duration = timedelta(seconds=15)
    """How long a dispatcher that died holds what it was sending."""
    dispatcher_checkpoint: Duration = timedelta(milliseconds=100)
    """Longest time between an answer of the target and the checkpoint that makes it durable, while sending goes on."""
    dispatcher_grace: Duration = timedelta(seconds=20)
    """How long the instance under way may take to end when the service stops."""
    dispatcher_memory: Annotated[int, Field(ge=0)] = 16 * 1024 * 1024
    """Octets of an instance that are held in memory; a larger one is spooled to a file."""
    dispatcher_change_memory: Annotated[int, Field(ge=16 * 1024 * 1024)] = 1024 * 1024 * 1024
    """Octets of memory that the change of one instance may take; what takes more is not sent to a target that asks for
    changes."""
    dispatcher_change_processes: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that change instances, each with that memory at most. They are started when they are needed."""
    dispatcher_change_limit: Duration = timedelta(minutes=5)
    """Longest time that the change of one instance may take."""
    dispatcher_picture_memory: Annotated[int, Field(ge=16 * 1024 * 1024)] = 512 * 1024 * 1024
    """Octets of memory that a small picture for the web pages may take; what takes more is shown without one. It is
    made in one process, which is started when the first is asked for."""
    dispatcher_picture_limit: Duration = timedelta(seconds=10)
    """Longest time that one picture may take."""
    dispatcher_temporary: Path | None = None
    """Folder of those files; the system's own for temporary files if not given."""
