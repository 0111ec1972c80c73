package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func pushLongPolling(s *session) error {
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
	for i := range 10 {
		before := in.size()
		start := time.Now()
		if err := sendOne(p, primitive.NewMessage(topic, []byte(fmt.Sprintf("poll-%d", i)))); err != nil {
			return err
		}
		if err := await("a message", 10*time.Second, func() bool { return in.size() > before }); err != nil {
			return err
		}
		if took := time.Since(start); took > time.Second {
			return fmt.Errorf("message %d arrived %s after it was sent", i, took)
		}
	}
	return nil
}

func pushFromFirst(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	bodies, err := sendAll(p, s.topic("t"), "early", 40)
	if err != nil {
		return err
	}
	return readBack(s, s.topic("t"), bodies)
}

func tagFilter(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	var wanted []string
	for i := range 30 {
		tag := []string{"A", "B", "C"}[i%3]
		body := fmt.Sprintf("%s-%d", tag, i)
		if err := sendOne(p, primitive.NewMessage(topic, []byte(body)).WithTag(tag)); err != nil {
			return err
		}
		if tag != "B" {
			wanted = append(wanted, body)
		}
	}
	in := &inbox{}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "A || C"}
	if _, err := s.push(s.group("c"), topic, selector, in); err != nil {
		return err
	}
	return in.awaitExactly(wanted, 30*time.Second)
}

// sqlFilter: the client does not look at properties itself, so what arrives is what the broker chose.
func sqlFilter(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	var wanted []string
	for i := range 40 {
		colour := []string{"red", "blue"}[i%2]
		body := fmt.Sprintf("%s-%d", colour, i)
		message := primitive.NewMessage(topic, []byte(body))
		message.WithProperty("colour", colour)
		message.WithProperty("size", fmt.Sprint(i))
		if err := sendOne(p, message); err != nil {
			return err
		}
		if colour == "blue" && i >= 10 && i <= 30 {
			wanted = append(wanted, body)
		}
	}
	in := &inbox{}
	selector := consumer.MessageSelector{Type: consumer.SQL92, Expression: "colour <> 'red' AND size BETWEEN 10 AND 30"}
	if _, err := s.push(s.group("c"), topic, selector, in); err != nil {
		return err
	}
	return in.awaitExactly(wanted, 30*time.Second)
}

// clusterTwoConsumers: both members get messages, each message goes to one of them, and when one
// leaves the other gets everything.
func clusterTwoConsumers(s *session) error {
	p, err := s.producer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
	if err != nil {
		return err
	}
	topic := s.topic("t")
	bodies, err := sendAll(p, topic, "before", 8)
	if err != nil {
		return err
	}
	first, second, both := &inbox{}, &inbox{}, &inbox{}
	group := s.group("c")
	if _, err := s.push(group, topic, everything, first); err != nil {
		return err
	}
	if err := first.awaitExactly(bodies, 30*time.Second); err != nil {
		return fmt.Errorf("alone: %w", err)
	}
	leaver, err := s.push(group, topic, everything, second)
	if err != nil {
		return err
	}
	// While queues move, a message may be delivered twice; so the distribution is awaited first.
	err = await("both members to receive", 40*time.Second, func() bool {
		_, _ = sendAll(p, topic, "moving", 8)
		return first.size() > len(bodies) && second.size() > 8
	})
	if err != nil {
		return err
	}
	if err := settle(first, second); err != nil {
		return err
	}
	before1, before2 := first.size(), second.size()
	bodies, err = sendAll(p, topic, "shared", 40)
	if err != nil {
		return err
	}
	err = await("40 messages", 20*time.Second, func() bool { return first.size()+second.size() >= before1+before2+40 })
	if err != nil {
		return err
	}
	both.add(first.all()[before1:]...)
	both.add(second.all()[before2:]...)
	if err := both.awaitExactly(bodies, time.Second); err != nil {
		return fmt.Errorf("shared: %w", err)
	}
	if first.size() == before1 || second.size() == before2 {
		return fmt.Errorf("one member got %d of 40 and the other %d", first.size()-before1, second.size()-before2)
	}
	if err := leaver.Shutdown(); err != nil {
		return err
	}
	before2 = second.size()
	bodies, err = sendAll(p, topic, "alone", 40)
	if err != nil {
		return err
	}
	err = await("all messages at the member that stayed", 15*time.Second, func() bool {
		got := make(map[string]bool)
		for _, message := range first.all() {
			got[string(message.Body)] = true
		}
		for _, body := range bodies {
			if !got[body] {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	if second.size() != before2 {
		return fmt.Errorf("a consumer that was shut down received %d messages", second.size()-before2)
	}
	return nil
}

// settle waits until nothing has arrived anywhere for a while.
func settle(inboxes ...*inbox) error {
	last, since := -1, time.Now()
	return await("arrivals to settle", 20*time.Second, func() bool {
		total := 0
		for _, in := range inboxes {
			total += in.size()
		}
		if total != last {
			last, since = total, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
}

func broadcasting(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	bodies, err := sendAll(p, topic, "all", 40)
	if err != nil {
		return err
	}
	first, second := &inbox{}, &inbox{}
	for _, in := range []*inbox{first, second} {
		if _, err := s.push(s.group("c"), topic, everything, in, consumer.WithConsumerModel(consumer.BroadCasting)); err != nil {
			return err
		}
	}
	if err := first.awaitExactly(bodies, 30*time.Second); err != nil {
		return fmt.Errorf("first member: %w", err)
	}
	if err := second.awaitExactly(bodies, 30*time.Second); err != nil {
		return fmt.Errorf("second member: %w", err)
	}
	return nil
}

// orderlyConsumer: the messages of one sharding key arrive in the order in which they were sent.
func orderlyConsumer(s *session) error {
	p, err := s.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return err
	}
	topic := s.topic("t")
	var bodies []string
	for i := range 60 {
		key := fmt.Sprintf("order%d", i%5)
		body := fmt.Sprintf("%s:%d", key, i)
		if err := sendOne(p, primitive.NewMessage(topic, []byte(body)).WithShardingKey(key)); err != nil {
			return err
		}
		bodies = append(bodies, body)
	}
	in := &inbox{}
	if _, err := s.push(s.group("c"), topic, everything, in, consumer.WithConsumerOrder(true)); err != nil {
		return err
	}
	if err := in.awaitExactly(bodies, 60*time.Second); err != nil {
		return err
	}
	last := make(map[string]int64)
	for _, message := range in.all() {
		key, _, _ := strings.Cut(string(message.Body), ":")
		if before, seen := last[key]; seen && message.QueueOffset <= before {
			return fmt.Errorf("%s: offset %d after %d", key, message.QueueOffset, before)
		}
		last[key] = message.QueueOffset
	}
	return nil
}

// offsetsResume: a new member of the group goes on where the one before it stopped.
func offsetsResume(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic, group := s.topic("t"), s.group("c")
	bodies, err := sendAll(p, topic, "first", 50)
	if err != nil {
		return err
	}
	in := &inbox{}
	one, err := s.push(group, topic, everything, in)
	if err != nil {
		return err
	}
	if err := in.awaitExactly(bodies, 30*time.Second); err != nil {
		return fmt.Errorf("first half: %w", err)
	}
	if err := one.Shutdown(); err != nil {
		return err
	}
	bodies, err = sendAll(p, topic, "second", 50)
	if err != nil {
		return err
	}
	in = &inbox{}
	if _, err := s.push(group, topic, everything, in); err != nil {
		return err
	}
	if err := in.awaitExactly(bodies, 30*time.Second); err != nil {
		return fmt.Errorf("second half: %w", err)
	}
	return nil
}

func pullConsumer(s *session) error {
	p, err := s.producer()
	if err != nil {
		return err
	}
	topic := s.topic("t")
	bodies, err := sendAll(p, topic, "pull", 40)
	if err != nil {
		return err
	}
	c, err := s.pull(s.group("c"))
	if err != nil {
		return err
	}
	if err := c.Subscribe(topic, everything); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	s.onClose(c.Shutdown)
	in := &inbox{}
	err = await("40 messages", 40*time.Second, func() bool {
		request, err := c.Poll(context.Background(), time.Second)
		if err != nil || request == nil {
			return in.size() >= len(bodies)
		}
		in.add(request.GetMsgList()...)
		c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		return in.size() >= len(bodies)
	})
	if err != nil {
		return err
	}
	return in.awaitExactly(bodies, time.Second)
}

// pullFromOffset reads one queue from a chosen offset.
func pullFromOffset(s *session) error {
	p, err := s.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return err
	}
	topic := s.topic("t")
	var queue *primitive.MessageQueue
	for i := range 20 {
		message := primitive.NewMessage(topic, []byte(fmt.Sprintf("pull-%d", i))).WithShardingKey("one")
		result, err := p.SendSync(context.Background(), message)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		queue = result.MessageQueue
	}
	c, err := s.pull(s.group("c"))
	if err != nil {
		return err
	}
	if err := c.Subscribe(topic, everything); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	s.onClose(c.Shutdown)
	result, err := c.PullFrom(context.Background(), queue, 12, 32)
	if err != nil {
		return fmt.Errorf("pull from 12: %w", err)
	}
	messages := result.GetMessageExts()
	if result.Status != primitive.PullFound || len(messages) != 8 || string(messages[0].Body) != "pull-12" {
		return fmt.Errorf("pull from 12: status %v, %d messages", result.Status, len(messages))
	}
	if result.NextBeginOffset != 20 || result.MinOffset != 0 || result.MaxOffset != 20 {
		return fmt.Errorf("offsets next %d, min %d, max %d", result.NextBeginOffset, result.MinOffset, result.MaxOffset)
	}
	return nil
}
