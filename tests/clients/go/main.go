// Scenarios for an unmodified github.com/apache/rocketmq-client-go/v2 against a name server's
// address. Prints PASS or FAIL for each and exits with 1 on any FAIL.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// limit of one scenario; far above what any needs, so that a hang is a FAIL and not a hanging test.
const limit = 90 * time.Second

type scenario struct {
	name string
	run  func(*session) error
}

func scenarios() []scenario {
	return []scenario{
		{"send_sync", sendSync},
		{"send_async", sendAsync},
		{"send_oneway", sendOneWay},
		{"send_batch", sendBatch},
		{"send_keys_tags_props", sendKeysTagsProps},
		{"compressed_body", compressedBody},
		{"large_body", largeBody},
		{"push_long_polling", pushLongPolling},
		{"push_from_first", pushFromFirst},
		{"tag_filter", tagFilter},
		{"sql_filter", sqlFilter},
		{"transaction", transaction},
		{"cluster_two_consumers", clusterTwoConsumers},
		{"broadcasting", broadcasting},
		{"orderly_consumer", orderlyConsumer},
		{"offsets_resume", offsetsResume},
		{"pull_consumer", pullConsumer},
		{"pull_from_offset", pullFromOffset},
		{"delay_level", delayLevel},
		{"retry", retry},
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: clients NAMESRV [scenario ... | all] | list | traffic NAMESRV")
		os.Exit(2)
	}
	// The library logs to stdout, which belongs to the PASS and FAIL lines.
	work := os.Getenv("CLIENTS_WORK")
	if work == "" {
		work = os.TempDir()
	}
	rlog.SetLogLevel("warn")
	if err := rlog.SetOutputPath(work + "/client.log"); err != nil {
		fmt.Fprintln(os.Stderr, "client log:", err)
		os.Exit(2)
	}
	switch os.Args[1] {
	case "list":
		for _, s := range scenarios() {
			fmt.Println(s.name)
		}
	case "traffic":
		if err := traffic(newSession(os.Args[2], "golden")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("done")
	default:
		if !runAll(os.Args[1], os.Args[2:]) {
			os.Exit(1)
		}
	}
}

// runAll runs a few scenarios at a time: most of their time is waiting for long polls and rebalances.
func runAll(namesrv string, names []string) bool {
	chosen := scenarios()
	if len(names) > 0 && !slices.Contains(names, "all") {
		chosen = slices.DeleteFunc(chosen, func(s scenario) bool { return !slices.Contains(names, s.name) })
		if len(chosen) != len(names) {
			fmt.Println("FAIL arguments: unknown or repeated scenario in", names)
			return false
		}
	}
	var print sync.Mutex
	var running sync.WaitGroup
	slots := make(chan struct{}, 4)
	ok := true
	for _, s := range chosen {
		slots <- struct{}{}
		running.Add(1)
		go func() {
			defer running.Done()
			defer func() { <-slots }()
			start := time.Now()
			err := runOne(namesrv, s)
			print.Lock()
			defer print.Unlock()
			if err != nil {
				ok = false
				fmt.Printf("FAIL %s: %v\n", s.name, err)
			} else {
				fmt.Printf("PASS %s (%d ms)\n", s.name, time.Since(start).Milliseconds())
			}
		}()
	}
	running.Wait()
	return ok
}

func runOne(namesrv string, s scenario) error {
	session := newSession(namesrv, s.name)
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		err := s.run(session)
		session.close()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return fmt.Errorf("still running after %s", limit)
	}
}
