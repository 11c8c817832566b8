package main

import (
	"flag"
	"fmt"
	"io"
	"net"
)

// forward is a port in front of another. Stopping it makes a server unreachable without losing
// what that server holds in memory: the lab's registry keeps its manifests there.
func forward(arguments []string) error {
	flags := flag.NewFlagSet("forward", flag.ExitOnError)
	listen := flags.String("listen", "", "address to open")
	to := flags.String("to", "", "address behind it")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("opening %s: %w", *listen, err)
	}
	for {
		outside, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accepting on %s: %w", *listen, err)
		}
		go join(outside.(*net.TCPConn), *to)
	}
}

func join(outside *net.TCPConn, to string) {
	defer outside.Close()
	connection, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	inside := connection.(*net.TCPConn)
	defer inside.Close()
	sent := make(chan struct{})
	go func() {
		_, _ = io.Copy(inside, outside)
		_ = inside.CloseWrite()
		close(sent)
	}()
	_, _ = io.Copy(outside, inside)
	_ = outside.CloseWrite()
	<-sent
}
