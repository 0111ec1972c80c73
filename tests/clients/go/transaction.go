package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// fates decides by the text: commit and roll back at once, the rest when the broker asks.
type fates struct {
	asked atomic.Int64
}

func (f *fates) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch text := string(message.Body); {
	case strings.HasPrefix(text, "commit"):
		return primitive.CommitMessageState
	case strings.HasPrefix(text, "rollback"):
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (f *fates) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	f.asked.Add(1)
	return primitive.CommitMessageState
}

// transaction: what is committed arrives, at once or after the broker has asked; what is rolled back does not.
func transaction(s *session) error {
	listener := &fates{}
	p, err := rocketmq.NewTransactionProducer(listener,
		producer.WithNameServer([]string{s.namesrv}),
		producer.WithGroupName(s.group("producer")),
		producer.WithInstanceName(s.instance()),
		producer.WithSendMsgTimeout(10*time.Second),
	)
	if err != nil {
		return fmt.Errorf("new transaction producer: %w", err)
	}
	if err := p.Start(); err != nil {
		return fmt.Errorf("start transaction producer: %w", err)
	}
	s.onClose(p.Shutdown)
	topic := s.topic("t")
	var wanted []string
	for i := range 12 {
		fate := []string{"commit", "rollback", "later"}[i%3]
		text := fmt.Sprintf("%s-%d", fate, i)
		result, err := p.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(text)))
		if err != nil {
			return fmt.Errorf("send %s: %w", text, err)
		}
		if result.Status != primitive.SendOK {
			return fmt.Errorf("send %s: status %v", text, result.Status)
		}
		if fate != "rollback" {
			wanted = append(wanted, text)
		}
	}
	in := &inbox{}
	if _, err := s.push(s.group("c"), topic, everything, in); err != nil {
		return err
	}
	if err := in.awaitExactly(wanted, 60*time.Second); err != nil {
		return err
	}
	if listener.asked.Load() < 4 {
		return fmt.Errorf("the broker asked %d times about 4 messages", listener.asked.Load())
	}
	return nil
}
