"""Takes the network from this process and from all that it starts, for good, by the kernel's word.

Owns a filter of system calls (seccomp): no socket but those that have no address of a network, and no connection at
all, not even to a service of this machine that listens at a file. It needs no rights, and nothing can undo it. Pairs
of sockets and pipes, by which processes of one browser speak to each other, stay. Linux alone has it; elsewhere nothing
is rendered.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import resource
import struct
from typing import Final, NamedTuple

DATA_BYTES_MAX: Final = 2_147_483_648
"""What one process may have of memory that is its own. A page has less (`pool`); this one the kernel holds, between two
looks."""
FILE_BYTES_MAX: Final = 268_435_456
"""Largest file. A browser keeps what its processes share in files."""


class _Calls(NamedTuple):
    """Numbers of an architecture: its own, and those of its system calls."""

    audit: int
    socket: int
    connect: int


_CALLS: Final = {"x86_64": _Calls(0xC000003E, 41, 42), "aarch64": _Calls(0xC00000B7, 198, 203)}
_URING_SETUP: Final = 425  # rings can make sockets without a call of theirs; one number everywhere
_OTHER_ABI: Final = 0x4000_0000  # from here on, x86-64 has the calls of another convention once more
_AF_UNIX: Final = 1
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW: Final = 0x7FFF_0000
_REFUSE: Final = 0x0005_0000 | errno.EACCES


class Unconfined(Exception):
    """The kernel does not do it; says why."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def confine() -> None:
    """Do it to this process. Raises `Unconfined`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES_MAX, DATA_BYTES_MAX))
    calls = _CALLS.get(platform.machine()) if platform.system() == "Linux" else None
    if calls is None:
        raise Unconfined(f"on {platform.system()} {platform.machine()} nothing can keep a browser from connecting")
    code = b"".join(struct.pack("HBBI", *each) for each in _write_filter(calls))
    kept = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise Unconfined(f"the kernel takes no filter of system calls: {errno.errorcode.get(ctypes.get_errno())}")


def _write_filter(calls: _Calls) -> list[tuple[int, int, int, int]]:
    """Each: what, lines to skip when it is so, lines to skip when not, and a number."""
    return [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 8, calls.audit),  # calls of another architecture are refused
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 6, 0, _OTHER_ABI),
        (_EQUAL, 5, 0, calls.connect),
        (_EQUAL, 4, 0, _URING_SETUP),
        (_EQUAL, 0, 2, calls.socket),
        (_LOAD, 0, 0, 16),  # its first argument, the family
        (_EQUAL, 0, 1, _AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
