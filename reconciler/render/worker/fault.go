package main

import (
	"regexp"
	"strings"
	"unicode"
)

// fault is why a render was refused, in words for the author of the repository. File is relative
// to the repository; Line counts from 1, 0 is unknown.
type fault struct {
	// Kind is one of notFound, yaml, duplicate, escape, remote, unsupported, limit, invalid.
	Kind    string `json:"kind"`
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
}

func (f *fault) Error() string { return f.Message }

// messageCap bounds what ends up in conditions: libraries wrap the same text many times.
const messageCap = 2000

// readable makes a library's message fit for people: paths as in the repository, one line, no
// control characters, no credentials, bounded.
func readable(message string) string {
	message = strings.ReplaceAll(message, repositoryRoot+"/", "")
	message = strings.ReplaceAll(message, repositoryRoot, "the repository's root")
	message = redacted(message)
	message = strings.Join(strings.Fields(message), " ")
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, message)
	if len(message) > messageCap {
		message = strings.ToValidUTF8(message[:messageCap], "") + " ..."
	}
	return message
}

var userInfo = regexp.MustCompile(`://[^/@\s'"]*@`)

// redacted takes user names and tokens out of URLs.
func redacted(text string) string { return userInfo.ReplaceAllString(text, "://...@") }
