"""Which system calls a container may make: Docker's default profile, as a table of our own.

Everything not allowed fails with EPERM. What Docker ties to a capability (mount to CAP_SYS_ADMIN,
say) is tied to it here. The table is grouped by subject; a name that an architecture or the
installed libseccomp does not know is skipped by the runtime.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_ALLOW = "SCMP_ACT_ALLOW"
_ERRNO = "SCMP_ACT_ERRNO"
_EPERM = 1
_ENOSYS = 38

_AF_VSOCK = 40

# CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_NAMESPACE_FLAGS = 0x7E020000

# PER_LINUX, PER_LINUX32, UNAME26, both, and "tell me the current one".
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_PROCESSES = (
    "alarm arch_prctl capget capset execve execveat exit exit_group fork get_robust_list "
    "get_thread_area getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups "
    "getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid "
    "getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set kill "
    "pause pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease restart_syscall rseq "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr "
    "sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
    "sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp "
    "set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 "
    "setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid "
    "setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 "
    "sysinfo tgkill times tkill ugetrlimit umask uname vfork wait4 waitid waitpid "
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self ptrace process_vm_readv "
    "process_vm_writev modify_ldt"
)
_SIGNALS = (
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal "
    "signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend"
)
_MEMORY = (
    "brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock "
    "mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc "
    "pkey_free pkey_mprotect remap_file_pages"
)
_TIME = (
    "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep "
    "setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
    "timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
    "timerfd_settime timerfd_settime64"
)
_FILES = (
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
    "faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat "
    "fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock "
    "fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate "
    "ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch "
    "inotify_init inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat "
    "listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat "
    "lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe "
    "pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat "
    "readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 "
    "setxattr setxattrat splice stat stat64 statfs statfs64 statmount statx symlink symlinkat "
    "sync sync_file_range syncfs tee truncate truncate64 unlink unlinkat utime utimensat "
    "utimensat_time64 utimes vmsplice write writev"
)
_WAITING = (
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
    "epoll_wait_old eventfd eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv "
    "futex_wake io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup "
    "io_submit _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select"
)
_SOCKETS = (
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom "
    "recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown "
    "socketcall socketpair"
)
_MESSAGES = (
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
    "mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop "
    "semtimedop_time64 shmat shmctl shmdt shmget"
)
_OTHER = "getrandom lsm_get_self_attr lsm_list_modules lsm_set_self_attr riscv_hwprobe uretprobe"
_ARM = "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"

ALLOWED = tuple(
    dict.fromkeys(
        " ".join(
            (
                _PROCESSES,
                _SIGNALS,
                _MEMORY,
                _TIME,
                _FILES,
                _WAITING,
                _SOCKETS,
                _MESSAGES,
                _OTHER,
                _ARM,
            )
        ).split()
    )
)
"""The calls that any container may make, whatever their arguments."""

BY_CAPABILITY: dict[str, tuple[str, ...]] = {
    capability: tuple(names.split())
    for capability, names in {
        "CAP_DAC_READ_SEARCH": "open_by_handle_at",
        "CAP_SYS_ADMIN": (
            "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
            "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd "
            "setdomainname sethostname setns syslog umount umount2 unshare"
        ),
        "CAP_SYS_BOOT": "reboot",
        "CAP_SYS_CHROOT": "chroot",
        "CAP_SYS_MODULE": "delete_module finit_module init_module",
        "CAP_SYS_PACCT": "acct",
        "CAP_SYS_PTRACE": (
            "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"
        ),
        "CAP_SYS_RAWIO": "ioperm iopl",
        "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
        "CAP_SYS_TTY_CONFIG": "vhangup",
        "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
        "CAP_SYSLOG": "syslog",
        "CAP_BPF": "bpf",
        "CAP_PERFMON": "perf_event_open",
    }.items()
}
"""The calls that a container may make where it holds the capability."""

# Each architecture's filter costs milliseconds at every start. x32 is left out: distributions'
# kernels do not offer it, and its calls end a process here instead of failing.
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
}


def default_profile(capabilities: Collection[str], machine: str) -> dict[str, Any]:
    """The runtime-spec `seccomp` object for a container with these capabilities."""
    names = list(ALLOWED)
    for capability, calls in BY_CAPABILITY.items():
        if capability in capabilities:
            names.extend(call for call in calls if call not in names)
    rules: list[dict[str, Any]] = [{"names": names, "action": _ALLOW}]
    rules.append(_when("socket", 0, _AF_VSOCK, "SCMP_CMP_NE"))
    rules.extend(_when("personality", 0, value, "SCMP_CMP_EQ") for value in _PERSONALITIES)
    if "CAP_SYS_ADMIN" not in capabilities:
        # s390 passes the flags as the second argument.
        index = 1 if machine == "s390x" else 0
        rules.append(
            {
                "names": ["clone"],
                "action": _ALLOW,
                "args": [
                    {
                        "index": index,
                        "value": _NAMESPACE_FLAGS,
                        "valueTwo": 0,
                        "op": "SCMP_CMP_MASKED_EQ",
                    }
                ],
            }
        )
        # Its flags lie in memory, out of a filter's sight; libc falls back to clone on ENOSYS.
        rules.append({"names": ["clone3"], "action": _ERRNO, "errnoRet": _ENOSYS})
    return {
        "defaultAction": _ERRNO,
        "defaultErrnoRet": _EPERM,
        "architectures": list(_ARCHITECTURES.get(machine, ())),
        "syscalls": rules,
    }


def _when(name: str, index: int, value: int, operator: str) -> dict[str, Any]:
    condition = {"index": index, "value": value, "valueTwo": 0, "op": operator}
    return {"names": [name], "action": _ALLOW, "args": [condition]}
