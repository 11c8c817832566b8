package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Three independent protections, each on all threads and inherited by every later one:
// no_new_privs; Landlock without any rule, which denies all files and TCP; and a seccomp filter
// that allows what a running Go program needs and answers everything else with EPERM. No file is
// opened, no socket made, no process started after this.

type protections struct {
	NoNewPrivs bool `json:"noNewPrivs"`
	Seccomp    bool `json:"seccomp"`
	// Landlock is the version of its interface, 0 where the kernel has none.
	Landlock int `json:"landlock"`
}

func confine() protections {
	var held protections
	report := func(what string, err error) bool {
		if err != nil {
			fmt.Fprintf(os.Stderr, "render-worker: %s: %v\n", what, err)
		}
		return err == nil
	}
	report("forbidding core dumps", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
	memory := dataLimit()
	report("limiting memory", unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory}))
	held.NoNewPrivs = report("setting no_new_privs", onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1))
	if version, err := landlock(); report("landlock", err) {
		held.Landlock = version
	}
	held.Seccomp = report("seccomp", seccomp())
	return held
}

// dataLimit is the kernel's backstop behind the client's watchdog: a YAML bomb takes gigabytes a
// second. It counts writable memory only, so that it suits Go, which reserves addresses freely.
func dataLimit() uint64 {
	const least = 512 << 20
	soft := debug.SetMemoryLimit(-1) // from GOMEMLIMIT, MaxInt64 without
	return uint64(min(max(soft, least/2), 4<<30)) * 2
}

// onAllThreads needs a program without cgo.
func onAllThreads(call, first, second uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(call, first, second, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// landlock handles every right its version knows and allows none.
func landlock() (int, error) {
	const versionQuery = 1
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, versionQuery)
	if errno != 0 {
		return 0, errno
	}
	ruleset := struct{ files, network, scopes uint64 }{files: 1<<13 - 1}
	size := unsafe.Sizeof(ruleset.files)
	if version >= 2 {
		ruleset.files |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		ruleset.files |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		ruleset.network = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = 16
	}
	if version >= 5 {
		ruleset.files |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		ruleset.scopes = 1 | 2 // abstract UNIX sockets, signals
		size = 24
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&ruleset)), size, 0)
	if errno != 0 {
		return 0, errno
	}
	defer unix.Close(int(fd))
	return int(version), onAllThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0)
}

// allowedCalls are what the Go runtime, its garbage collector and reads and writes of open pipes use.
var allowedCalls = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_LSEEK,
	unix.SYS_FCNTL, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
	unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_RESTART_SYSCALL,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_GETRANDOM, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// Offsets in struct seccomp_data; arguments are little-endian on both architectures.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArgs = 16
)

var auditArch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

const (
	allow = uint32(unix.SECCOMP_RET_ALLOW)
	deny  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
)

func seccomp() error {
	arch, known := auditArch[runtime.GOARCH]
	if !known {
		return fmt.Errorf("no filter for %s", runtime.GOARCH)
	}
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	jump := func(test uint16, value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: value, Jt: yes, Jf: no}
	}
	answer := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	filter := []unix.SockFilter{
		load(offsetArch), jump(unix.BPF_JEQ, arch, 1, 0), answer(unix.SECCOMP_RET_KILL_PROCESS),
		load(offsetCall),
	}
	for _, call := range allowedCalls {
		filter = append(filter, jump(unix.BPF_JEQ, call, 0, 1), answer(allow))
	}
	// conditional: a call whose argument (low half) decides.
	conditional := func(call uint32, argument uint32, test uint16, value uint32, yes, no uint32) {
		filter = append(filter,
			jump(unix.BPF_JEQ, call, 0, 4), load(offsetArgs+8*argument),
			jump(test, value, 0, 1), answer(yes), answer(no))
	}
	conditional(unix.SYS_CLONE, 0, unix.BPF_JSET, unix.CLONE_THREAD, allow, deny)   // threads, no processes
	conditional(unix.SYS_TGKILL, 0, unix.BPF_JEQ, uint32(os.Getpid()), allow, deny) // preemption of own threads
	conditional(unix.SYS_MMAP, 2, unix.BPF_JSET, unix.PROT_EXEC, deny, allow)       // no new code
	conditional(unix.SYS_MPROTECT, 2, unix.BPF_JSET, unix.PROT_EXEC, deny, allow)   // no new code
	filter = append(filter, answer(deny))

	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}
