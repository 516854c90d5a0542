"""Numbers of the system calls that a filter names: (x86_64, aarch64), None where there is none.

Source: the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h;
a test compares the table with the headers of the machine, where they are installed.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

Numbers = Mapping[str, tuple[int | None, int | None]]

# A call above this number is younger than this list: it is answered with "no such call", and
# libraries then use the older one that they know.
NEWEST_KNOWN = 450

# Change what belongs to a file but is not its content; Landlock does not watch these.
METADATA: Numbers = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "truncate": (76, 45),
    "inotify_add_watch": (254, 27),
}
# Begin another process or program; what compiles may do it.
PROGRAMS: Numbers = {
    "execve": (59, 221),
    "fork": (57, None),
    "vfork": (58, None),
}
# Leave the job's group, by which it is killed whole; a job cannot where it starts processes.
SESSIONS: Numbers = {"setsid": (112, 157)}
# Reach into another process, or begin one in a way that no compiler needs.
PROCESSES: Numbers = {
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "get_robust_list": (274, 100),
    "tkill": (200, 130),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
}
# Objects that live on without a process, those of others too, and memory that no limit counts.
LASTING: Numbers = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmdt": (67, 197),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184),
    "mq_getsetattr": (245, 185),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}
# The system itself: mounts, modules, clocks, identities, and doors that were often broken.
SYSTEM: Numbers = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "unshare": (272, 97),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "io_submit": (209, 2),
    "vmsplice": (278, 75),
    "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "sync": (162, 81),
    "syncfs": (306, 267),
    "vhangup": (153, 58),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "seccomp": (317, 277),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "lookup_dcookie": (212, 18),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "capset": (126, 91),
}
# A timer may send any signal to its own process, SIGKILL too, as if somebody else had.
TIMERS: Numbers = {"timer_create": (222, 107)}
# Any socket: pathname, abstract and network ones alike; and what gives one of a pair, which
# stays (see `PAIR`), an address or a peer, or names an address in memory.
SOCKETS: Numbers = {
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "setsockopt": (54, 208),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
}
# Every call of these is refused, whatever its arguments.
REFUSED = (METADATA, PROCESSES, LASTING, SYSTEM, TIMERS)
# Structures in memory, which a filter cannot read: "no such call" makes libc take the older one.
OPAQUE: Numbers = {"clone3": (435, 435), "openat2": (437, 437)}
# Allowed with certain arguments only; `arguments` says which.
CLONE: Numbers = {"clone": (56, 220)}
OPEN: Numbers = {"open": (2, None)}
OPENAT: Numbers = {"openat": (257, 56)}
PAIR: Numbers = {"socketpair": (53, 199)}
SEND: Numbers = {"sendto": (44, 206)}
DESCRIPTOR: Numbers = {"fcntl": (72, 25)}
DEVICE: Numbers = {"ioctl": (16, 29)}
CONTROL: Numbers = {"prctl": (157, 167)}
LIMIT: Numbers = {"setrlimit": (160, 164)}
LIMIT_OF: Numbers = {"prlimit64": (302, 261)}
# The process comes first; of a signal its number second or third.
OWN_PROCESS: Numbers = {"sched_setaffinity": (203, 122)}
SIGNAL: Numbers = {"kill": (62, 129), "rt_sigqueueinfo": (129, 138)}
SIGNAL_THREAD: Numbers = {"tgkill": (234, 131), "rt_tgsigqueueinfo": (297, 240)}

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def architecture() -> int | None:
    """Return the kernel's name for this processor in a filter, None for one without a table."""
    known = _MACHINES.get(platform.machine())
    return None if known is None else known[1]


def numbers(table: Numbers) -> list[int]:
    """Return the numbers of a table on this processor."""
    column = _MACHINES[platform.machine()][0]
    return [pair[column] for pair in table.values() if pair[column] is not None]  # type: ignore[misc]
