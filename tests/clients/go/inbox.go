package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// inbox holds what consumers received, in order of arrival.
type inbox struct {
	mu       sync.Mutex
	messages []*primitive.MessageExt
}

func (in *inbox) add(messages ...*primitive.MessageExt) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.messages = append(in.messages, messages...)
}

func (in *inbox) all() []*primitive.MessageExt {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]*primitive.MessageExt(nil), in.messages...)
}

func (in *inbox) size() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.messages)
}

// awaitExactly waits until every body is here, then insists that nothing else is, and nothing twice.
func (in *inbox) awaitExactly(bodies []string, limit time.Duration) error {
	wanted := make(map[string]int, len(bodies))
	for _, body := range bodies {
		wanted[body] = 0
	}
	missing := func() []string {
		var missing []string
		got := make(map[string]bool)
		for _, message := range in.all() {
			got[string(message.Body)] = true
		}
		for _, body := range bodies {
			if !got[body] {
				missing = append(missing, body)
			}
		}
		return missing
	}
	if err := await("all messages", limit, func() bool { return len(missing()) == 0 }); err != nil {
		lost := missing()
		return fmt.Errorf("%w: %d of %d missing, e.g. %.60s", err, len(lost), len(bodies), lost[0])
	}
	for _, message := range in.all() {
		body := string(message.Body)
		seen, expected := wanted[body]
		if !expected {
			return fmt.Errorf("received a message that was not expected: %.60s", body)
		}
		if seen > 0 {
			return fmt.Errorf("received twice: %.60s", body)
		}
		wanted[body] = seen + 1
	}
	return nil
}

// await polls a condition until it holds or the limit has passed.
func await(what string, limit time.Duration, condition func() bool) error {
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}
