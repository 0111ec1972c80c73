package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

var everything = consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}

// sendAll sends numbered bodies one by one and returns them.
func sendAll(p rocketmq.Producer, topic, prefix string, n int) ([]string, error) {
	var bodies []string
	for i := range n {
		body := fmt.Sprintf("%s-%d", prefix, i)
		if err := sendOne(p, primitive.NewMessage(topic, []byte(body))); err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

func sendOne(p rocketmq.Producer, message *primitive.Message) error {
	result, err := p.SendSync(context.Background(), message)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if result.Status != primitive.SendOK {
		return fmt.Errorf("send status %v", result.Status)
	}
	return nil
}

// readBack consumes the topic from its start with a new group and expects exactly the bodies.
func readBack(s *session, topic string, bodies []string) error {
	in := &inbox{}
	if _, err := s.push(s.group("reader"), topic, everything, in); err != nil {
		return err
	}
	return in.awaitExactly(bodies, 30*time.Second)
}

func sendSync(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	var bodies []string
	next := make(map[int]int64)
	for i := range 20 {
		body := fmt.Sprintf("sync-%d", i)
		result, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte(body)))
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if result.Status != primitive.SendOK || result.MsgID == "" || result.OffsetMsgID == "" {
			return fmt.Errorf("send result %v", result)
		}
		queue := result.MessageQueue.QueueId
		if result.QueueOffset != next[queue] {
			return fmt.Errorf("queue %d: offset %d after %d messages", queue, result.QueueOffset, next[queue])
		}
		next[queue]++
		bodies = append(bodies, body)
	}
	return readBack(s, topic, bodies)
}

func sendAsync(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	var bodies []string
	var mu sync.Mutex
	answered, failed := 0, error(nil)
	for i := range 50 {
		body := fmt.Sprintf("async-%d", i)
		bodies = append(bodies, body)
		err := p.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			mu.Lock()
			defer mu.Unlock()
			answered++
			switch {
			case err != nil:
				failed = err
			case result.Status != primitive.SendOK:
				failed = fmt.Errorf("send status %v", result.Status)
			}
		}, primitive.NewMessage(topic, []byte(body)))
		if err != nil {
			return fmt.Errorf("send async: %w", err)
		}
	}
	err = await("50 callbacks", 20*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return answered == 50
	})
	if err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return readBack(s, topic, bodies)
}

func sendOneWay(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	// The first is acknowledged: a one-way send to a topic that does not exist yet has no route to go by.
	bodies, err := sendAll(p, topic, "first", 1)
	if err != nil {
		return err
	}
	for i := range 20 {
		body := fmt.Sprintf("oneway-%d", i)
		if err := p.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(body))); err != nil {
			return fmt.Errorf("send one way: %w", err)
		}
		bodies = append(bodies, body)
	}
	return readBack(s, topic, bodies)
}

func sendBatch(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	var batch []*primitive.Message
	var bodies []string
	for i := range 30 {
		body := fmt.Sprintf("batch-%d", i)
		bodies = append(bodies, body)
		batch = append(batch, primitive.NewMessage(topic, []byte(body)).WithTag("T"))
	}
	result, err := p.SendSync(context.Background(), batch...)
	if err != nil {
		return fmt.Errorf("send batch: %w", err)
	}
	if result.Status != primitive.SendOK || result.QueueOffset != 0 {
		return fmt.Errorf("batch result %v", result)
	}
	if ids := strings.Split(result.OffsetMsgID, ","); len(ids) != 30 {
		return fmt.Errorf("%d offset ids for 30 messages", len(ids))
	}
	in := &inbox{}
	if _, err := s.push(s.group("reader"), topic, everything, in); err != nil {
		return err
	}
	if err := in.awaitExactly(bodies, 30*time.Second); err != nil {
		return err
	}
	for _, message := range in.all() {
		if want := fmt.Sprintf("batch-%d", message.QueueOffset); string(message.Body) != want {
			return fmt.Errorf("offset %d holds %s", message.QueueOffset, message.Body)
		}
		if message.Queue.QueueId != result.MessageQueue.QueueId {
			return fmt.Errorf("the batch is spread over queues")
		}
	}
	return nil
}

func sendKeysTagsProps(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	sent := primitive.NewMessage(topic, []byte("with everything"))
	sent.WithTag("TagÜ").WithKeys([]string{"key1", "key2"})
	properties := map[string]string{"colour": "grün", "city": "東京", "number": "42", "spaces": "a b  c"}
	for name, value := range properties {
		sent.WithProperty(name, value)
	}
	result, err := p.SendSync(context.Background(), sent)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	in := &inbox{}
	if _, err := s.push(s.group("reader"), topic, everything, in); err != nil {
		return err
	}
	if err := in.awaitExactly([]string{"with everything"}, 30*time.Second); err != nil {
		return err
	}
	got := in.all()[0]
	if got.GetTags() != "TagÜ" || strings.TrimSpace(got.GetKeys()) != "key1 key2" {
		return fmt.Errorf("tags %q, keys %q", got.GetTags(), got.GetKeys())
	}
	for name, value := range properties {
		if seen := got.GetProperty(name); seen != value {
			return fmt.Errorf("property %s: %q instead of %q", name, seen, value)
		}
	}
	if got.MsgId != result.MsgID || got.OffsetMsgId != result.OffsetMsgID || got.QueueOffset != result.QueueOffset {
		return fmt.Errorf("received %s/%s at %d, sent %s/%s at %d", got.MsgId, got.OffsetMsgId, got.QueueOffset,
			result.MsgID, result.OffsetMsgID, result.QueueOffset)
	}
	return nil
}

func compressedBody(s *session) error {
	return oneBody(s, []byte(strings.Repeat("compressible text ", 6000)), func(got *primitive.MessageExt) error {
		if int(got.StoreSize) > 50_000 {
			return fmt.Errorf("108,000 bytes took %d in the store: not compressed", got.StoreSize)
		}
		return nil
	})
}

func largeBody(s *session) error {
	body := make([]byte, 3<<20)
	rand.New(rand.NewSource(7)).Read(body)
	return oneBody(s, body, func(*primitive.MessageExt) error { return nil })
}

func oneBody(s *session, body []byte, check func(*primitive.MessageExt) error) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	if err := sendOne(p, primitive.NewMessage(topic, bytes.Clone(body))); err != nil {
		return err
	}
	in := &inbox{}
	if _, err := s.push(s.group("reader"), topic, everything, in); err != nil {
		return err
	}
	if err := await("the message", 30*time.Second, func() bool { return in.size() == 1 }); err != nil {
		return err
	}
	got := in.all()[0]
	if !bytes.Equal(got.Body, body) {
		return fmt.Errorf("received %d bytes that differ from the %d sent", len(got.Body), len(body))
	}
	return check(got)
}
