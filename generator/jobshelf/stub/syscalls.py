"""The Linux kernel's own fences around a process: Landlock for files, seccomp for everything else.

Sources: https://docs.kernel.org/userspace-api/landlock.html, https://docs.kernel.org/userspace-api/seccomp_filter.html and the
system call tables of Linux 6.x (`asm/unistd_64.h` for x86_64, `asm-generic/unistd.h` for aarch64).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_NUMBERS_X86_64 = {
    "fork": 57, "vfork": 58, "clone": 56, "execve": 59, "execveat": 322, "socket": 41, "kill": 62, "tkill": 200,
    "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "ptrace": 101, "process_vm_readv": 310,
    "process_vm_writev": 311, "setrlimit": 160, "prlimit64": 302, "setpriority": 141, "ioprio_set": 251,
    "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setparam": 142, "sched_setattr": 314, "bpf": 321,
    "perf_event_open": 298, "userfaultfd": 323, "add_key": 248, "request_key": 249, "keyctl": 250, "mount": 165,
    "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "settimeofday": 164, "clock_settime": 227,
    "clock_adjtime": 305, "adjtimex": 159, "init_module": 175, "finit_module": 313, "delete_module": 176,
    "kexec_load": 246, "kexec_file_load": 320, "acct": 163, "quotactl": 179, "syslog": 103, "iopl": 172, "ioperm": 173,
    "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "open_by_handle_at": 304, "vhangup": 153, "chmod": 90,
    "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "utime": 132,
    "utimes": 235, "futimesat": 261, "utimensat": 280, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
    "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
}  # fmt: skip
_NUMBERS_AARCH64 = {
    "clone": 220, "execve": 221, "execveat": 281, "socket": 198, "kill": 129, "tkill": 130, "tgkill": 131,
    "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
    "setrlimit": 164, "prlimit64": 261, "setpriority": 140, "ioprio_set": 30, "sched_setaffinity": 122,
    "sched_setscheduler": 119, "sched_setparam": 118, "sched_setattr": 274, "bpf": 280, "perf_event_open": 241,
    "userfaultfd": 282, "add_key": 217, "request_key": 218, "keyctl": 219, "mount": 40, "umount2": 39, "pivot_root": 41,
    "chroot": 51, "unshare": 97, "setns": 268, "swapon": 224, "swapoff": 225, "reboot": 142, "sethostname": 161,
    "setdomainname": 162, "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171,
    "init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294,
    "acct": 89, "quotactl": 60, "syslog": 116, "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180,
    "open_by_handle_at": 265, "vhangup": 58, "fchmod": 52, "fchmodat": 53, "fchown": 55, "fchownat": 54,
    "utimensat": 88, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
    "fremovexattr": 16,
}  # fmt: skip
_NUMBERS_BOTH = {
    "clone3": 435, "pidfd_open": 434, "pidfd_send_signal": 424, "pidfd_getfd": 438, "process_madvise": 440,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "quotactl_fd": 443,
    "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _NUMBERS_X86_64), "aarch64": (0xC00000B7, _NUMBERS_AARCH64)}

# Changing owner, mode, times or attributes succeeds and does nothing: honest scripts do it to their own files.
_SILENT = frozenset(
    [
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "chown",
        "fchown",
        "lchown",
        "fchownat",
        "utime",
        "utimes",
        "futimesat",
        "utimensat",
        "setxattr",
        "lsetxattr",
        "fsetxattr",
        "removexattr",
        "lremovexattr",
        "fremovexattr",
        "setxattrat",
        "removexattrat",
        "file_setattr",
    ]
)
_ANY_PROCESS = 0xFEEDF00D  # no process has this number, and no instruction these bytes
_ONLY_ITSELF = frozenset({"kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"})
_CLONE_THREAD = 0x00010000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENT_AT = 0, 4, 16

_SET_DEATH_SIGNAL, _NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER_MODE = 1, 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FILES_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_HANDLED_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}

_READABLE = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ssl",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/passwd",
)
_READABLE_PROC = ("/proc/cpuinfo", "/proc/meminfo")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def open_ruleset(writable: Path) -> int | None:
    """Return a Landlock ruleset: write under `writable` only, read there, in the interpreter and in the system's libraries.

    None where the kernel has no Landlock.
    """
    if _libc is None:
        return None
    abi = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        return None
    handled = _HANDLED_BY_ABI[min(abi, 5)]
    attributes = struct.pack("QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return None
    _allow(ruleset, writable, handled)
    for device in _DEVICES:
        _allow(ruleset, Path(device), handled & (_READ_FILE | _WRITE_FILE))
    for path in _readable():
        _allow(ruleset, path, handled & (_READ_FILE | _READ_DIR))
    return ruleset


def restrict_files(ruleset: int) -> None:
    """Put this process under the Landlock `ruleset`, for good."""
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")


def restrict_calls() -> bool:
    """Forbid this process, for good, to make processes or sockets, to signal others, and to change the machine.

    Return False, having done nothing, where seccomp or this machine's system call table is not at hand.
    """
    prepared = prepared_filter()
    if prepared is None:
        return False
    program = prepared.replace(_value(_ANY_PROCESS), _value(os.getpid()))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _prctl(_SET_SECCOMP, _FILTER_MODE, header)
    return True


@cache
def prepared_filter() -> bytes | None:
    """Return the filter for a process whose number is yet to be put in; asked for before a fork, it need not be made after it."""
    machine = _MACHINES.get(platform.machine())
    if _libc is None or machine is None or sys.byteorder != "little":
        return None
    return b"".join(_program(*machine, _ANY_PROCESS))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux)."""
    if _libc is not None:
        _prctl(_SET_DEATH_SIGNAL, 9)


def _readable() -> Iterable[Path]:
    for text in dict.fromkeys((*_READABLE, *_READABLE_PROC, sys.prefix, sys.base_prefix, *sys.path)):
        if text and Path(text).exists():
            yield Path(text)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a path that is not there needs no permission
        return
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & _FILES_ONLY, handle)
        _checked(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), "landlock_add_rule")
    finally:
        os.close(handle)


def _program(machine: int, numbers: dict[str, int], pid: int) -> Iterable[bytes]:
    """Yield the filter, one instruction of eight bytes at a time: test a number, answer, go on."""
    yield _instruction(_LOAD, _MACHINE_AT)
    yield _instruction(_EQUAL, machine, no=0, yes=1)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER_AT)
    yield _instruction(_AT_LEAST, 0x40000000, yes=0, no=1)  # the x32 table of x86_64
    yield _instruction(_RETURN, _ERRNO | errno.ENOSYS)
    for name, number in (numbers | _NUMBERS_BOTH).items():
        answer = list(_answer(name, pid))
        yield _instruction(_EQUAL, number, yes=0, no=len(answer))
        yield from answer
    yield _instruction(_RETURN, _ALLOW)


def _answer(name: str, pid: int) -> Iterable[bytes]:
    if name == "clone":
        yield from _allow_if(_instruction(_ANY_BIT, _CLONE_THREAD, yes=0, no=1), argument=0)
    elif name in _ONLY_ITSELF:
        yield from _allow_if(_instruction(_EQUAL, pid, yes=0, no=1), argument=0)
    elif name == "prlimit64":  # reading a limit is harmless
        yield from _allow_if(_instruction(_EQUAL, 0, yes=0, no=1), argument=2)
    elif name in _SILENT:
        yield _instruction(_RETURN, _ERRNO)
    elif name == "clone3":  # the C library falls back to clone, whose flags can be seen
        yield _instruction(_RETURN, _ERRNO | errno.ENOSYS)
    elif name == "socket":
        yield _instruction(_RETURN, _ERRNO | errno.ENETUNREACH)
    else:
        yield _instruction(_RETURN, _ERRNO | errno.EPERM)


def _allow_if(test: bytes, *, argument: int) -> Iterable[bytes]:
    yield _instruction(_LOAD, _ARGUMENT_AT + 8 * argument)
    yield test
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _ERRNO | errno.EPERM)


def _instruction(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _value(value: int) -> bytes:
    return struct.pack("=I", value)


def _prctl(option: int, *arguments: int | bytes) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    values = [value if isinstance(value, bytes) else ctypes.c_ulong(value) for value in padded]
    _checked(_libc.prctl(option, *values), f"prctl({option})")


def _checked(result: int, name: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
