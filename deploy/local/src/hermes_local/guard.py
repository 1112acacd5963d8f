"""Becomes another program that does not outlive its parent: `guard.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT...]`.

Run as a file by a bare interpreter (`-I -S`), so it may import nothing of ours. UID and GID are `-` for no change. On
Linux the kernel sends SIGNAL when the parent dies (prctl(2), PR_SET_PDEATHSIG; it is cleared by a change of user, so
the user comes first).
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Drops privileges, ties itself to the parent, and becomes the program; ends with 127 when there is no such
    program.
    """
    parent, signal, uid, gid, *program = arguments
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the line above
        sys.exit(1)
    try:
        os.execvp(program[0], program)  # noqa: S606 - becoming that program is the purpose; there is no shell
    except OSError as problem:
        sys.exit(f"cannot run {program[0]}: {problem}")


if __name__ == "__main__":
    main(sys.argv[1:])
