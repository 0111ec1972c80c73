package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var (
	run     = strconv.FormatInt(time.Now().UnixMilli(), 36) + strconv.FormatInt(int64(os.Getpid()), 36)
	clients atomic.Int64
)

// session is what one scenario works with: names of its own, and clients that are shut down at its
// end. Every client has an instance name of its own, so that two consumers of one process are two
// clients to the broker.
type session struct {
	namesrv  string
	scenario string
	mu       sync.Mutex
	closers  []func() error
}

func newSession(namesrv, scenario string) *session {
	return &session{namesrv: namesrv, scenario: scenario}
}

func (s *session) topic(hint string) string { return s.scenario + "-go-" + hint + "-" + run }
func (s *session) group(hint string) string { return "G-" + s.scenario + "-go-" + hint + "-" + run }

func (s *session) instance() string {
	return fmt.Sprintf("%s-go-%d-%s", s.scenario, clients.Add(1), run)
}

func (s *session) onClose(closer func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, closer)
}

func (s *session) close() {
	s.mu.Lock()
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()
	for i := len(closers) - 1; i >= 0; i-- {
		if err := closers[i](); err != nil {
			fmt.Fprintf(os.Stderr, "%s: shutdown: %v\n", s.scenario, err)
		}
	}
}

func (s *session) producer(options ...producer.Option) (rocketmq.Producer, error) {
	options = append([]producer.Option{
		producer.WithNameServer([]string{s.namesrv}),
		producer.WithGroupName(s.group("producer")),
		producer.WithInstanceName(s.instance()),
		producer.WithSendMsgTimeout(10 * time.Second),
		producer.WithRetry(2),
	}, options...)
	p, err := rocketmq.NewProducer(options...)
	if err != nil {
		return nil, fmt.Errorf("new producer: %w", err)
	}
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("start producer: %w", err)
	}
	s.onClose(p.Shutdown)
	return p, nil
}

// push is a started push consumer that hands everything to the inbox. It reads from the first
// message unless an option says otherwise.
func (s *session) push(group, topic string, selector consumer.MessageSelector, in *inbox, options ...consumer.Option) (*stoppable, error) {
	options = append([]consumer.Option{
		consumer.WithNameServer([]string{s.namesrv}),
		consumer.WithGroupName(group),
		consumer.WithInstance(s.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	c, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return nil, fmt.Errorf("new push consumer: %w", err)
	}
	err = c.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		in.add(messages...)
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start push consumer: %w", err)
	}
	stop := &stoppable{stop: c.Shutdown}
	s.onClose(stop.Shutdown)
	return stop, nil
}

func (s *session) pull(group string) (rocketmq.PullConsumer, error) {
	c, err := rocketmq.NewPullConsumer(
		consumer.WithNameServer([]string{s.namesrv}),
		consumer.WithGroupName(group),
		consumer.WithInstance(s.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	if err != nil {
		return nil, fmt.Errorf("new pull consumer: %w", err)
	}
	return c, nil
}

// stoppable makes a second Shutdown harmless; the library's closes a closed channel.
type stoppable struct {
	once sync.Once
	stop func() error
}

func (s *stoppable) Shutdown() error {
	var err error
	s.once.Do(func() { err = s.stop() })
	return err
}
