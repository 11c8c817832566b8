package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The self-test: each probe tries what the worker must not be able to do and reports how it went.

type probeRequest struct {
	// Read is a file that exists and is readable for this user.
	Read string `json:"read"`
	// Connect is a TCP address that listens.
	Connect string `json:"connect"`
}

type probe struct {
	Attempt string `json:"attempt"`
	Refused bool   `json:"refused"`
	// Outcome is the error, or that it worked.
	Outcome string `json:"outcome"`
}

func runProbes(asked probeRequest) []probe {
	attempts := []struct {
		name string
		try  func() error
	}{
		{"read a file", func() error { _, err := os.ReadFile(asked.Read); return err }},
		{"list a folder", func() error { _, err := os.ReadDir(filepath.Dir(asked.Read)); return err }},
		{"look up a file", func() error { _, err := os.Stat(asked.Read); return err }},
		{"write a file", func() error {
			return os.WriteFile(filepath.Join(os.TempDir(), fmt.Sprintf("render-probe-%d", os.Getpid())), nil, 0o600)
		}},
		{"connect over TCP", func() error {
			connection, err := net.DialTimeout("tcp", asked.Connect, time.Second)
			if err == nil {
				connection.Close()
			}
			return err
		}},
		{"make a UNIX socket", func() error { return closing(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)) }},
		{"start a program", func() error { _, err := syscall.ForkExec("/bin/true", []string{"true"}, nil); return err }},
		{"become a program", func() error { return unix.Exec("/bin/true", []string{"true"}, nil) }},
		{"trace a process", func() error { return unix.PtraceSeize(os.Getppid()) }},
		{"signal a process", func() error { return unix.Kill(os.Getppid(), 0) }},
		{"make memory executable", func() error {
			_, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
			return err
		}},
		{"make an anonymous file", func() error { return closing(unix.MemfdCreate("probe", 0)) }},
	}
	var probes []probe
	for _, attempt := range attempts {
		outcome, err := "it worked", attempt.try()
		if err != nil {
			outcome = err.Error()
		}
		probes = append(probes, probe{attempt.name, isRefusal(err), outcome})
	}
	return probes
}

func closing(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// isRefusal tells "not allowed" from other failures, which prove nothing.
func isRefusal(err error) bool { return errors.Is(err, fs.ErrPermission) }
