package main

import (
	"context"
	"fmt"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// delayLevel: a message with a level comes after its delay, with its own topic.
func delayLevel(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	if _, err := sendAll(p, topic, "prime", 1); err != nil {
		return err
	}
	in := &inbox{}
	if _, err := s.push(s.group("c"), topic, everything, in); err != nil {
		return err
	}
	if err := await("the first message", 30*time.Second, func() bool { return in.size() == 1 }); err != nil {
		return err
	}
	sent := time.Now()
	if err := sendOne(p, primitive.NewMessage(topic, []byte("later")).WithDelayTimeLevel(1)); err != nil {
		return err
	}
	if err := await("the delayed message", 20*time.Second, func() bool { return in.size() == 2 }); err != nil {
		return err
	}
	if took := time.Since(sent); took < time.Second {
		return fmt.Errorf("level 1 came after %s", took)
	}
	if came := in.all()[1]; string(came.Body) != "later" || came.Topic != topic {
		return fmt.Errorf("came: %s of %s", came.Body, came.Topic)
	}
	return nil
}

// retry: a message that the consumer refuses once comes again, once.
func retry(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	if _, err := sendAll(p, topic, "work", 3); err != nil {
		return err
	}
	in := &inbox{}
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer([]string{s.namesrv}),
		consumer.WithGroupName(s.group("c")),
		consumer.WithInstance(s.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumeMessageBatchMaxSize(1),
	)
	if err != nil {
		return fmt.Errorf("new push consumer: %w", err)
	}
	err = c.Subscribe(topic, everything, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		in.add(messages...)
		if messages[0].ReconsumeTimes == 0 {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start push consumer: %w", err)
	}
	s.onClose(c.Shutdown)
	if err := await("every message twice", 75*time.Second, func() bool { return in.size() >= 6 }); err != nil {
		return fmt.Errorf("%w (%d attempts)", err, in.size())
	}
	times := map[string][]int32{}
	for _, message := range in.all() {
		times[string(message.Body)] = append(times[string(message.Body)], message.ReconsumeTimes)
	}
	for body, tries := range times {
		if len(tries) != 2 || tries[0] != 0 || tries[1] != 1 {
			return fmt.Errorf("%s was tried with reconsumeTimes %v", body, tries)
		}
	}
	return nil
}
