package main

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// traffic is one pass over the requests whose form differs from the Java client's, for the capture
// of golden frames. Its product is the traffic; it checks only that the pass was complete.
func traffic(s *session) error {
	defer s.close()
	ctx := context.Background()
	topic := s.topic("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	message := primitive.NewMessage(topic, []byte("one message with properties"))
	message.WithTag("TagA").WithKeys([]string{"key1", "key2"}).WithProperty("colour", "grün")
	if _, err := p.SendSync(ctx, message); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := p.SendOneWay(ctx, primitive.NewMessage(topic, []byte("one way"))); err != nil {
		return fmt.Errorf("one way: %w", err)
	}
	_, err = p.SendSync(ctx, primitive.NewMessage(topic, []byte("batch item 0")).WithTag("TagA"),
		primitive.NewMessage(topic, []byte("batch item 1")))
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	in := &inbox{}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "TagA || TagB"}
	group := s.group("push")
	first, err := s.push(group, topic, selector, in)
	if err != nil {
		return err
	}
	if err := await("tagged messages", 30*time.Second, func() bool { return in.size() >= 2 }); err != nil {
		return err
	}
	second, err := s.push(group, topic, selector, in)
	if err != nil {
		return err
	}
	before := in.size()
	err = await("a message after the second joined", 30*time.Second, func() bool {
		woken := primitive.NewMessage(topic, []byte("wakes a held pull")).WithTag("TagB")
		_, _ = p.SendSync(ctx, woken)
		return in.size() > before+4
	})
	if err != nil {
		return err
	}
	if err := second.Shutdown(); err != nil {
		return err
	}
	return first.Shutdown()
}
