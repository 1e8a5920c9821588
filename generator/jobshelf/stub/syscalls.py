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
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """Read "name x86_64 aarch64, ...": the numbers of each system call, `-` where a machine has none of that name."""
    return {name: tuple(numbers) for name, *numbers in (entry.split() for entry in text.split(","))}


# What a Python program needs to compute, to read, and to write through descriptors that it has.
_ALLOWED = _table("""
    read 0 63, write 1 64, close 3 57, fstat 5 80, poll 7 -, lseek 8 62, mmap 9 222, mprotect 10 226,
    munmap 11 215, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, pread64 17 67,
    pwrite64 18 68, readv 19 65, writev 20 66, sched_yield 24 124, mremap 25 216, msync 26 227, mincore 27 232,
    madvise 28 233, dup 32 23, nanosleep 35 101, getitimer 36 102, setitimer 38 103, getpid 39 172,
    sendfile 40 71, exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95, uname 63 160, flock 73 32,
    fsync 74 82, fdatasync 75 83, ftruncate 77 46, getcwd 79 17, chdir 80 49, fchdir 81 50, umask 95 166,
    getrlimit 97 163, getrusage 98 165, sysinfo 99 179, times 100 153, getuid 102 174, getgid 104 176,
    geteuid 107 175, getegid 108 177, getppid 110 173, getgroups 115 158, getresuid 118 148, getresgid 120 150,
    getpgid 121 155, getsid 124 156, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133,
    sigaltstack 131 132, statfs 137 43, fstatfs 138 44, getpriority 140 141, sched_getparam 143 121,
    sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126,
    sched_getaffinity 204 123, gettid 186 178, getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10,
    listxattr 194 11, llistxattr 195 12, flistxattr 196 13, futex 202 98, set_tid_address 218 96,
    fadvise64 221 223, timer_create 222 107, timer_settime 223 110, timer_gettime 224 108,
    timer_getoverrun 225 109, timer_delete 226 111, clock_gettime 228 113, clock_getres 229 114,
    clock_nanosleep 230 115, gettimeofday 96 169, epoll_create1 291 20, epoll_ctl 233 21, epoll_pwait 281 22,
    getdents64 217 61, newfstatat 262 79, readlinkat 267 78, faccessat 269 48, pselect6 270 72, ppoll 271 73,
    set_robust_list 273 99, get_robust_list 274 100, splice 275 76, tee 276 77, eventfd2 290 19,
    signalfd4 289 74, dup3 292 24, pipe2 293 59, preadv 295 69, pwritev 296 70, preadv2 327 286,
    pwritev2 328 287, getcpu 309 168, getrandom 318 278, membarrier 324 283, copy_file_range 326 285,
    rseq 334 293, statx 332 291, close_range 436 436, faccessat2 439 439, epoll_pwait2 441 441, recvfrom 45 207,
    recvmsg 47 212, shutdown 48 210, getsockname 51 204, getpeername 52 205, getsockopt 55 209,
    socketpair 53 199, restart_syscall 219 128, readahead 187 213, stat 4 -, lstat 6 -, access 21 -, pipe 22 -,
    select 23 -, dup2 33 -, pause 34 -, alarm 37 -, getdents 78 -, readlink 89 -, getpgrp 111 -, time 201 -,
    epoll_create 213 -, epoll_wait 232 -, eventfd 284 -, signalfd 282 -, arch_prctl 158 -
""")
# What changes folders or may open a file for writing: for Landlock to judge, else refused.
_WRITING = _table("""
    openat 257 56, mkdirat 258 34, unlinkat 263 35, renameat 264 38, renameat2 316 276, linkat 265 37,
    symlinkat 266 36, truncate 76 45, open 2 -, creat 85 -, mkdir 83 -, rmdir 84 -, unlink 87 -, rename 82 -,
    link 86 -, symlink 88 -
""")
# Changing owner, mode, times or attributes succeeds and does nothing: honest scripts do it to their own files.
_SILENT = _table("""
    fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, fchown 93 55, fchownat 260 54, utimensat 280 88,
    setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15,
    fremovexattr 199 16, setxattrat 463 463, removexattrat 466 466, file_setattr 469 469, chmod 90 -,
    chown 92 -, lchown 94 -, utime 132 -, utimes 235 -, futimesat 261 -
""")
# What no script comes to that does not evade Python's own layer: the kernel kills the process, which cannot be hidden.
_DEADLY = _table("""
    execve 59 221, execveat 322 281, ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271,
    process_madvise 440 440, tkill 200 130, pidfd_getfd 438 438, pidfd_send_signal 424 424,
    io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, userfaultfd 323 282,
    perf_event_open 298 241, bpf 321 280, add_key 248 217, request_key 249 218, keyctl 250 219, mount 165 40,
    umount2 166 39, pivot_root 155 41, chroot 161 51, unshare 272 97, setns 308 268, open_tree 428 428,
    move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
    mount_setattr 442 442, swapon 167 224, swapoff 168 225, reboot 169 142, sethostname 170 161,
    setdomainname 171 162, settimeofday 164 170, clock_settime 227 112, init_module 175 105,
    finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, acct 163 89,
    quotactl 179 60, quotactl_fd 443 443, syslog 103 116, open_by_handle_at 304 265, vhangup 153 58,
    memfd_create 319 279, memfd_secret 447 447, mknodat 259 33, connect 42 203, bind 49 200, listen 50 201,
    inotify_init1 294 26, fanotify_init 300 262, fork 57 -, vfork 58 -, iopl 172 -, ioperm 173 -,
    inotify_init 253 -, mknod 133 -
""")
# What depends on the arguments.
_EXAMINED = _table("""
    clone 56 220, clone3 435 435, kill 62 129, tgkill 234 131, rt_sigqueueinfo 129 138,
    rt_tgsigqueueinfo 297 240, prlimit64 302 261, fcntl 72 25, ioctl 16 29, sendto 44 206, prctl 157 167, pidfd_open 434 434,
    socket 41 198, openat2 437 437
""")
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_ANY_PROCESS = 0xFEEDF00D  # no process has this number, and no instruction these bytes
_OWN_PROCESS = frozenset({"kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open"})
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020000
_O_ASYNC = 0x2000
_OPENS_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_F_SETFL = 4
_FCNTL_COMMANDS = (0, 1, 2, 3, 5, 6, 7, 36, 37, 38, 1030, 1032, 1033, 1034)
_FCNTL_SIGNALS = (8, 10, 15, 1024, 1026)  # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
_IOCTL_COMMANDS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIO(N)CLEX
_IOCTL_SIGNALS = (0x5452, 0x8901, 0x8902)  # FIOASYNC, FIOSETOWN, SIOCSPGRP
_PRCTL_OPTIONS = (3, 15, 16, 23, 0x53564D41)  # PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_SET_VMA
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENT_AT = 0, 4, 16
_GROUP = 200  # a jump reaches 255 instructions

_SET_DEATH_SIGNAL, _NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER_MODE = 1, 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_OLDEST_ABI, _NEWEST_ABI = 3, 6  # before 3 Landlock does not see truncation
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE, _MAKE_LINK, _REFER, _TRUNCATE = (
    1 << n for n in (4, 5, 7, 8, 12, 13, 14)
)
_READ = _READ_FILE | _READ_DIR
_WRITE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE | _MAKE_LINK | _REFER | _TRUNCATE
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE

_READABLE = (
    "/usr", "/lib", "/lib64", "/etc/ssl", "/etc/localtime", "/etc/mime.types", "/etc/os-release", "/etc/passwd", "/proc/cpuinfo",
    "/proc/meminfo",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def landlock_abi(newest: int) -> int:
    """Return the version of Landlock to ask for, at most `newest`; 0 where there is none that sees every way of writing."""
    if _libc is None:
        return 0
    abi = min(_libc.syscall(_CREATE_RULESET, None, 0, 1), newest, _NEWEST_ABI)
    return abi if abi >= _OLDEST_ABI else 0


def open_ruleset(
    abi: int, readable: Iterable[Path], writable: Iterable[Path], *, emptied: Path | None = None
) -> int | None:
    """Return a Landlock ruleset: write below `writable` only; read there, below `readable`, and what the interpreter needs.

    Below `emptied` empty folders may be removed. None where `abi` is 0.
    """
    if not abi:
        return None
    handled = (1 << (16 if abi >= 5 else 15)) - 1
    attributes = struct.pack("QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset")
    os.set_inheritable(ruleset, False)
    for path in writable:
        _allow(ruleset, path, _READ | _WRITE)
    if emptied is not None:
        _allow(ruleset, emptied, _REMOVE_DIR)
    for device in _DEVICES:
        _allow(ruleset, Path(device), _READ_FILE | _WRITE_FILE)
    texts = dict.fromkeys((*_READABLE, sys.prefix, sys.base_prefix, *sys.path))
    for path in (*readable, *(Path(text) for text in texts if text)):
        _allow(ruleset, path, _READ)
    return ruleset


def restrict_files(ruleset: int) -> None:
    """Put this process under the Landlock `ruleset`, for good."""
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")


def restrict_calls(*, writing: bool) -> bool:
    """Forbid this process, for good, to make processes or sockets, to signal others, to change the machine; without `writing`,
    also to open a file for writing and to change folders.

    Return False, having done nothing, where seccomp or this machine's system call table is not at hand.
    """
    prepared = prepared_filter(writing=writing)
    if prepared is None:
        return False
    program = prepared.replace(_value(_ANY_PROCESS), _value(os.getpid()))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _prctl(_SET_SECCOMP, _FILTER_MODE, header)
    return True


@cache
def prepared_filter(*, writing: bool) -> bytes | None:
    """Return the filter for a process whose number is yet to be put in; asked for before a fork, it need not be made after it."""
    machine = _MACHINES.get(platform.machine())
    if _libc is None or machine is None or sys.byteorder != "little":
        return None
    return b"".join(_program(*machine, writing=writing))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux)."""
    if _libc is not None:
        _prctl(_SET_DEATH_SIGNAL, 9)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a path that is not there needs no permission
        return
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & _OF_FILES, handle)
        _checked(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), "landlock_add_rule")
    finally:
        os.close(handle)


def _numbers(table: dict[str, tuple[str, ...]], column: int) -> dict[str, int]:
    return {name: int(numbers[column]) for name, numbers in table.items() if numbers[column] != "-"}


def _program(column: int, machine: int, *, writing: bool) -> Iterable[bytes]:
    """Yield the filter, one instruction of eight bytes at a time: test a number, answer, go on."""
    yield _instruction(_LOAD, _MACHINE_AT)
    yield _instruction(_EQUAL, machine, no=0, yes=1)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER_AT)
    yield _instruction(_AT_LEAST, 0x40000000, yes=0, no=1)  # the x32 table of x86_64
    yield _instruction(_RETURN, _KILL)
    allowed = _numbers(_ALLOWED, column) | (_numbers(_WRITING, column) if writing else {})
    yield from _group(allowed.values(), _ALLOW)
    yield from _group(_numbers(_SILENT, column).values(), _ERRNO)
    yield from _group(_numbers(_DEADLY, column).values(), _KILL)
    for name, number in (_numbers(_EXAMINED, column) | ({} if writing else _numbers(_WRITING, column))).items():
        answer = list(_answer(name))
        yield _instruction(_EQUAL, number, yes=0, no=len(answer))
        yield from answer
    yield _instruction(_RETURN, _ERRNO | errno.ENOSYS)


def _group(numbers: Iterable[int], answer: int) -> Iterable[bytes]:
    """Give the same answer to all of `numbers`."""
    pending = sorted(numbers)
    while pending:
        some, pending = pending[:_GROUP], pending[_GROUP:]
        for place, number in enumerate(some):
            yield _instruction(_EQUAL, number, yes=len(some) - place, no=0)
        yield _instruction(_JUMP, 1)
        yield _instruction(_RETURN, answer)


def _answer(name: str) -> Iterable[bytes]:
    """Yield what becomes of one call whose number matched; it always ends in an answer."""
    if name == "clone":
        yield _argument(0)
        yield from _if(_ANY_BIT, _CLONE_NEW, _KILL)
        yield from _if(_ANY_BIT, _CLONE_THREAD, _ALLOW)
        yield _instruction(_RETURN, _KILL)
    elif name in _OWN_PROCESS:
        yield _argument(0)
        yield from _if(_EQUAL, _ANY_PROCESS, _ALLOW)
        yield _instruction(_RETURN, _KILL)
    elif name == "fcntl":
        yield _argument(1)
        yield from _one_of(_FCNTL_COMMANDS, _ALLOW)
        yield from _one_of(_FCNTL_SIGNALS, _KILL)
        yield _instruction(_EQUAL, _F_SETFL, yes=0, no=4)
        yield _argument(2)
        yield from _if(_ANY_BIT, _O_ASYNC, _KILL)
        yield _instruction(_RETURN, _ALLOW)
        yield _instruction(_RETURN, _ERRNO | errno.EINVAL)
    elif name == "ioctl":
        yield _argument(1)
        yield from _one_of(_IOCTL_COMMANDS, _ALLOW)
        yield from _one_of(_IOCTL_SIGNALS, _KILL)
        yield _instruction(_RETURN, _ERRNO | errno.ENOTTY)
    elif name == "prctl":
        yield _argument(0)
        yield from _one_of(_PRCTL_OPTIONS, _ALLOW)
        yield from _if(_EQUAL, _SET_DEATH_SIGNAL, _KILL)
        yield _instruction(_RETURN, _ERRNO | errno.EINVAL)
    elif name == "sendto":  # through a pair of sockets it needs no address; with one it could reach other processes
        yield from _null_or(4, _KILL)
    elif name == "prlimit64":  # reading a limit is harmless
        yield from _null_or(2, _ERRNO | errno.EPERM)
    elif name in {"open", "openat"}:
        yield _argument(1 if name == "open" else 2)
        yield from _if(_ANY_BIT, _OPENS_FOR_WRITING, _ERRNO | errno.EROFS)
        yield _instruction(_RETURN, _ALLOW)
    elif name == "socket":
        yield _instruction(_RETURN, _ERRNO | errno.ENETUNREACH)
    elif name in _WRITING:
        yield _instruction(_RETURN, _ERRNO | errno.EROFS)
    else:  # clone3, openat2: the C library falls back to calls whose flags can be seen
        yield _instruction(_RETURN, _ERRNO | errno.ENOSYS)


def _argument(place: int, *, high: bool = False) -> bytes:
    return _instruction(_LOAD, _ARGUMENT_AT + 8 * place + (4 if high else 0))


def _if(test: int, value: int, answer: int) -> Iterable[bytes]:
    yield _instruction(test, value, yes=0, no=1)
    yield _instruction(_RETURN, answer)


def _one_of(values: Sequence[int], answer: int) -> Iterable[bytes]:
    for value in values:
        yield from _if(_EQUAL, value, answer)


def _null_or(place: int, answer: int) -> Iterable[bytes]:
    """Allow the call when its pointer `place` is null."""
    yield _argument(place)
    yield _instruction(_EQUAL, 0, yes=0, no=3)
    yield _argument(place, high=True)
    yield _instruction(_EQUAL, 0, yes=0, no=1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, answer)


def _instruction(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _value(value: int) -> bytes:
    return struct.pack("=I", value)


def _prctl(option: int, *arguments: int | bytes) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    values = [value if isinstance(value, bytes) else ctypes.c_ulong(value) for value in padded]
    _checked(_libc.prctl(option, *values), f"prctl({option})")


def _checked(result: int, name: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result
