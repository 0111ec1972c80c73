package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// wanted says which exchanges make up the set: client, request code, what tells the exchange apart,
// response code ("-" for a one-way), and which of the two frames to keep ("resp" alone where the
// request is much like another's). The first exchange that fits a line is taken; a line that nothing
// fits is an error, so the set cannot shrink unnoticed.
var wanted = []struct {
	client, variant, response, frames string
	code                              int
	name                              string
}{
	{"broker", "", "0", "both", 103, "register_broker"},
	{"broker", "", "0", "req", 104, "unregister_broker"},
	{mislabelling, "", "1", "both", 103, "register_broker"},
	{"java", "compressed", "0", "both", 103, "register_broker"},
	{"java", "", "0", "both", 106, "get_broker_cluster_info"},
	{"java", "", "0", "both", 206, "get_all_topic_list_from_nameserver"},
	{"java", "", "17", "both", 105, "get_routeinfo_by_topic"},
	{"java", "", "0", "both", 105, "get_routeinfo_by_topic"},
	{"java", "", "0", "both", 17, "update_and_create_topic"},
	{"java", "keys", "0", "both", 310, "send_message_v2"},
	{"java", "oneway", "-", "req", 310, "send_message_v2"},
	{"java", "", "29", "resp", 310, "send_message_v2"},
	{"java", "", "17", "resp", 310, "send_message_v2"},
	{"java", "", "0", "both", 320, "send_batch_message"},
	{"java", "", "0", "both", 34, "heart_beat"},
	{"java", "subscriptions", "0", "req", 34, "heart_beat"},
	{"java", "", "0", "both", 11, "pull_message"},
	{"java", "", "19", "both", 11, "pull_message"},
	{"java", "", "20", "resp", 11, "pull_message"},
	{"java", "", "21", "resp", 11, "pull_message"},
	{"java", "held", "0", "both", 11, "pull_message"},
	{"java", "", "0", "both", 361, "lite_pull_message"},
	{"java", "", "0", "both", 30, "get_max_offset"},
	{"java", "", "0", "req", 31, "get_min_offset"},
	{"java", "", "0", "req", 29, "search_offset_by_timestamp"},
	{"java", "", "0", "both", 32, "get_earliest_msg_storetime"},
	{"java", "", "0", "both", 14, "query_consumer_offset"},
	{"java", "", "22", "resp", 14, "query_consumer_offset"},
	{"java", "", "0", "both", 15, "update_consumer_offset"},
	{"java", "oneway", "-", "req", 15, "update_consumer_offset"},
	{"java", "", "0", "both", 38, "get_consumer_list_by_group"},
	{"java", "", "0", "both", 41, "lock_batch_mq"},
	{"java", "", "0", "req", 42, "unlock_batch_mq"},
	{"java", "oneway", "-", "req", 40, "notify_consumer_ids_changed"},
	{"java", "", "0", "req", 36, "consumer_send_msg_back"},
	{"java", "", "0", "req", 35, "unregister_client"},
	{"go", "", "0", "both", 105, "get_routeinfo_by_topic"},
	{"go", "keys", "0", "both", 10, "send_message"},
	// The Go client 2.1.2 sends one-way requests without the one-way flag and drops the answer.
	{"go", "", "0", "req", 10, "send_message"},
	{"go", "", "0", "both", 320, "send_batch_message"},
	{"go", "subscriptions", "0", "req", 34, "heart_beat"},
	{"go", "", "0", "both", 11, "pull_message"},
	{"go", "", "0", "req", 15, "update_consumer_offset"},
	{"broker-binary", "", "0", "both", 103, "register_broker"},
	{"java-binary", "", "0", "both", 105, "get_routeinfo_by_topic"},
	{"java-binary", "keys", "0", "both", 310, "send_message_v2"},
	{"java-binary", "", "0", "req", 320, "send_batch_message"},
	{"java-binary", "subscriptions", "0", "both", 34, "heart_beat"},
	{"java-binary", "", "0", "both", 11, "pull_message"},
	{"java-binary", "oneway", "-", "req", 40, "notify_consumer_ids_changed"},
}

type indexEntry struct {
	File          string            `json:"file"`
	Pair          string            `json:"pair,omitempty"`
	Kind          string            `json:"kind"` // req or resp
	Direction     direction         `json:"direction"`
	RequestCode   int               `json:"request_code"`
	Name          string            `json:"name"`
	ResponseCode  *int              `json:"response_code,omitempty"`
	Oneway        bool              `json:"oneway,omitempty"`
	Opaque        int               `json:"opaque"`
	Client        string            `json:"client"`
	Serialization string            `json:"serialization"`
	Variant       string            `json:"variant,omitempty"`
	Bytes         int               `json:"bytes"`
	BodyBytes     int               `json:"body_bytes"`
	Remark        string            `json:"remark,omitempty"`
	Ext           map[string]string `json:"ext,omitempty"`
}

// variant tells exchanges of one code apart where their form or treatment differs.
func variant(ex *exchange) string {
	var parts []string
	if ex.request.oneway() {
		parts = append(parts, "oneway")
	}
	if r := ex.response; r != nil && (ex.request.code == 11 || ex.request.code == 361) {
		if r.at.Sub(ex.request.at) > time.Second {
			parts = append(parts, "held")
		}
	}
	if ex.request.code == 103 && ex.request.ext["compressed"] == "true" {
		parts = append(parts, "compressed")
	}
	if ex.request.code == 34 && bytes.Contains(ex.request.bytes, []byte(`"subscriptionDataSet":[{`)) {
		parts = append(parts, "subscriptions")
	}
	if strings.Contains(ex.request.ext["i"]+ex.request.ext["properties"], "KEYS") {
		parts = append(parts, "keys")
	}
	return strings.Join(parts, "+")
}

func writeGolden(dir string, exchanges []*exchange) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.bin"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	index, err := os.Create(filepath.Join(dir, "index.jsonl"))
	if err != nil {
		return err
	}
	defer index.Close()
	lines := json.NewEncoder(index)
	lines.SetEscapeHTML(false)
	files, total := 0, 0
	var absent []string
	for i, want := range wanted {
		ex := first(exchanges, want.client, want.code, want.variant, want.response)
		if ex == nil {
			absent = append(absent, fmt.Sprintf("%+v", want))
			continue
		}
		base := fmt.Sprintf("%03d_%d_%s", i+1, want.code, want.name)
		req, resp := "", ""
		if want.frames != "resp" {
			req = base + "_req_" + want.client + ".bin"
		}
		if want.frames != "req" {
			resp = base + "_resp_" + want.client + ".bin"
		}
		for _, part := range []struct {
			f                *frame
			file, pair, kind string
		}{{ex.request, req, resp, "req"}, {ex.response, resp, req, "resp"}} {
			if part.file == "" {
				continue
			}
			entry := indexEntry{
				File: part.file, Pair: part.pair, Kind: part.kind, Direction: part.f.direction,
				RequestCode: want.code, Name: want.name, Oneway: part.f.oneway(),
				Opaque: part.f.opaque, Client: want.client, Serialization: part.f.serialization, Variant: want.variant, Remark: part.f.remark,
				Bytes: len(part.f.bytes), BodyBytes: part.f.body, Ext: part.f.ext,
			}
			if part.kind == "resp" {
				entry.ResponseCode = &part.f.code
			}
			if err := os.WriteFile(filepath.Join(dir, part.file), part.f.bytes, 0o644); err != nil {
				return err
			}
			if err := lines.Encode(entry); err != nil {
				return err
			}
			files++
			total += len(part.f.bytes)
		}
	}
	log.Printf("%d exchanges recorded, %d frames kept, %d bytes", len(exchanges), files, total)
	if len(absent) > 0 {
		return fmt.Errorf("not seen:\n%s", strings.Join(absent, "\n"))
	}
	return index.Close()
}

func first(exchanges []*exchange, client string, code int, v, response string) *exchange {
	for _, ex := range exchanges {
		answered := "-"
		if !ex.request.oneway() {
			if ex.response == nil {
				continue // the connection ended first
			}
			answered = fmt.Sprint(ex.response.code)
		}
		if ex.client == client && ex.request.code == code && variant(ex) == v && answered == response {
			return ex
		}
	}
	return nil
}
