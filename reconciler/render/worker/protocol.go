package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Frames are a big-endian uint32 length and that many bytes of JSON. The client sends a request;
// while it runs, the worker asks for paths one at a time and the client answers each; the reply
// with objects, an error or probes ends the request. The worker thereby holds only what it read,
// and what it asked for is what the render depends on.

// frameCap bounds one frame in each direction. The client knows the same number.
const frameCap = 16 << 20

type request struct {
	ID     uint64         `json:"id"`
	Render *renderRequest `json:"render,omitempty"`
	Probe  *probeRequest  `json:"probe,omitempty"`
	Answer *answer        `json:"answer,omitempty"`
}

type renderRequest struct {
	// Path of the folder, relative to the repository; "" is its root.
	Path string `json:"path"`
	Kind string `json:"kind"` // auto | plain | kustomize
}

// answer says what is at a path: exactly one of file, folder or nothing.
type answer struct {
	Path   string   `json:"path"`
	File   *[]byte  `json:"file,omitempty"`
	Folder []string `json:"folder,omitempty"` // names; those of folders end with a slash
	IsDir  bool     `json:"isFolder,omitempty"`
}

type reply struct {
	Hello   *hello            `json:"hello,omitempty"`
	ID      uint64            `json:"id,omitempty"`
	Need    *need             `json:"need,omitempty"`
	Objects []json.RawMessage `json:"objects,omitempty"`
	Done    bool              `json:"done,omitempty"`
	Error   *fault            `json:"error,omitempty"`
	Probes  []probe           `json:"probes,omitempty"`
}

type hello struct {
	Protocol    int         `json:"protocol"`
	Protections protections `json:"protections"`
}

// need asks for a path. List means that the names in the folder matter, not only that it exists.
type need struct {
	Path string `json:"path"`
	List bool   `json:"list,omitempty"`
}

type connection struct {
	incoming <-chan request
	out      *bufio.Writer
}

// newConnection reads frames on its own goroutine, so that the end of stdin ends the worker even
// while a render is busy.
func newConnection(in io.Reader, out io.Writer) *connection {
	incoming := make(chan request)
	go func() {
		buffered := bufio.NewReaderSize(in, 64<<10)
		for {
			frame, err := readFrame(buffered)
			if errors.Is(err, io.EOF) {
				os.Exit(0)
			}
			var next request
			if err == nil {
				err = json.Unmarshal(frame, &next)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "render-worker: reading a frame:", err)
				os.Exit(1)
			}
			incoming <- next
		}
	}()
	return &connection{incoming: incoming, out: bufio.NewWriterSize(out, 64<<10)}
}

func readFrame(in io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > frameCap {
		return nil, fmt.Errorf("%d bytes, over the cap of %d", size, frameCap)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, fmt.Errorf("cut off: %w", err)
	}
	return frame, nil
}

// send writes one frame; a reply over the cap becomes an error of its request.
func (c *connection) send(message reply) {
	frame, err := json.Marshal(message)
	if err == nil && len(frame) > frameCap {
		frame, err = json.Marshal(reply{ID: message.ID, Error: &fault{
			Kind: "limit",
			Message: fmt.Sprintf("the rendered objects are %d MiB, over the %d MiB that one render may give; split the folder",
				len(frame)>>20, frameCap>>20),
		}})
	}
	if err == nil {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(frame)))
		c.out.Write(length[:])
		c.out.Write(frame)
		err = c.out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "render-worker: writing a frame:", err)
		os.Exit(1)
	}
}

// ask gets one path from the client.
func (c *connection) ask(id uint64, path string, list bool) answer {
	c.send(reply{ID: id, Need: &need{Path: path, List: list}})
	next := <-c.incoming
	if next.ID != id || next.Answer == nil || next.Answer.Path != path {
		fmt.Fprintln(os.Stderr, "render-worker: the client answered something that was not asked")
		os.Exit(1)
	}
	return *next.Answer
}
