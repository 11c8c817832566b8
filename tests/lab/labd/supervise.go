package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// order is one request on the control socket: start a process under a name, stop or kill the
// process of that name, or ask whether it still runs. One order and one answer, each a line of JSON, per
// connection.
type order struct {
	Do   string   `json:"do"`
	Name string   `json:"name"`
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
}

type answer struct {
	Pid   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}

type child struct {
	command *exec.Cmd
	ended   chan struct{}
}

// stopDeadline is how long a process may take to end by itself when asked to.
const stopDeadline = 5 * time.Second

// supervisor owns the processes of one lab. Its starter holds the other end of its standard input:
// when that closes, whatever the reason (end of the test, panic, SIGKILL), the lab is taken down.
// Should the supervisor itself be killed, the kernel kills its children (PDEATHSIG).
type supervisor struct {
	folder   string
	mutex    sync.Mutex
	children map[string]*child
	spawn    chan func()
}

func supervise(arguments []string) error {
	flags := flag.NewFlagSet("supervise", flag.ExitOnError)
	folder := flags.String("folder", "", "the lab's folder; removed at the end")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	s := &supervisor{folder: *folder, children: map[string]*child{}, spawn: make(chan func())}
	// PDEATHSIG is sent when the *thread* that forked ends, so all forks happen on one that stays.
	go func() {
		runtime.LockOSThread()
		for start := range s.spawn {
			start()
		}
	}()
	listener, err := net.Listen("unix", filepath.Join(*folder, "control.sock"))
	if err != nil {
		return fmt.Errorf("listening for orders: %w", err)
	}
	go s.takeOrders(listener)
	fmt.Println("ready")

	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end <- syscall.SIGTERM
	}()
	<-end
	_ = listener.Close()
	return s.takeDown()
}

func (s *supervisor) takeOrders(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			var o order
			var a answer
			line, err := bufio.NewReader(connection).ReadBytes('\n')
			if err == nil {
				err = json.Unmarshal(line, &o)
			}
			if err == nil {
				a.Pid, err = s.carryOut(o)
			}
			if err != nil {
				a.Error = err.Error()
			}
			_ = json.NewEncoder(connection).Encode(a)
		}()
	}
}

func (s *supervisor) carryOut(o order) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch o.Do {
	case "start":
		return s.start(o)
	case "stop":
		return 0, s.stop(o.Name)
	case "kill":
		return 0, s.kill(o.Name)
	case "alive":
		return s.alive(o.Name)
	default:
		return 0, fmt.Errorf("unknown order %q", o.Do)
	}
}

func (s *supervisor) start(o order) (int, error) {
	if c := s.children[o.Name]; c != nil && !c.over() {
		return c.command.Process.Pid, nil
	}
	log, err := os.OpenFile(filepath.Join(s.folder, "logs", o.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("opening the log of %s: %w", o.Name, err)
	}
	defer log.Close()
	command := exec.Command(o.Args[0], o.Args[1:]...)
	command.Env = append(os.Environ(), o.Env...)
	command.Dir = s.folder
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.spawn <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		return 0, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	c := &child{command: command, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(c.ended)
	}()
	s.children[o.Name] = c
	return command.Process.Pid, nil
}

func (s *supervisor) stop(name string) error {
	c := s.children[name]
	if c == nil {
		return fmt.Errorf("stopping %s: no process of that name was started", name)
	}
	c.end(syscall.SIGTERM, stopDeadline)
	delete(s.children, name)
	return nil
}

// kill is the sudden end of one process: no signal that it could answer, and what it started itself
// is left as an accident would leave it.
func (s *supervisor) kill(name string) error {
	c := s.children[name]
	if c == nil || c.over() {
		return fmt.Errorf("killing %s: it is not running", name)
	}
	_ = c.command.Process.Kill()
	<-c.ended
	return nil
}

func (s *supervisor) alive(name string) (int, error) {
	c := s.children[name]
	if c == nil || c.over() {
		return 0, fmt.Errorf("%s is not running; its log is logs/%s.log", name, name)
	}
	return c.command.Process.Pid, nil
}

// takeDown kills everything at once (nothing of a lab needs a graceful end) and removes the folder.
func (s *supervisor) takeDown() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, c := range s.children {
		_ = syscall.Kill(-c.command.Process.Pid, syscall.SIGKILL)
	}
	for _, c := range s.children {
		c.end(syscall.SIGKILL, stopDeadline)
	}
	var err error
	for range 20 {
		if err = os.RemoveAll(s.folder); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("removing the lab's folder: %w", err)
}

func (c *child) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// end signals the child's whole process group and waits; what does not end in time is killed.
func (c *child) end(with syscall.Signal, within time.Duration) {
	group := -c.command.Process.Pid
	_ = syscall.Kill(group, with)
	select {
	case <-c.ended:
	case <-time.After(within):
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-c.ended
}
