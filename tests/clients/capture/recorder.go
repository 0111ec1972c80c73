package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

type direction string

const (
	toServer direction = "to_server"
	toClient direction = "to_client"
)

// frame is one recorded frame with the parts of its header that choosing needs.
type frame struct {
	bytes         []byte
	at            time.Time
	direction     direction
	serialization string
	code          int
	flag          int
	opaque        int
	remark        string
	ext           map[string]string
	body          int // length
}

func (f *frame) response() bool { return f.flag&1 != 0 }
func (f *frame) oneway() bool   { return f.flag&2 != 0 }

// exchange is a request and, unless it is one-way, its response.
type exchange struct {
	client   string
	request  *frame
	response *frame
}

type recorder struct {
	mu       sync.Mutex
	client   string
	broker   string
	recorded []*exchange
}

func newRecorder() *recorder { return &recorder{} }

// label names the client that is running, and the broker, for what is recorded from now on.
func (r *recorder) label(client, broker string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.client, r.broker = client, broker
}

func (r *recorder) exchanges() []*exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.recorded)
}

func (r *recorder) connection() *connection {
	return &connection{recorder: r, waiting: make(map[string]*exchange)}
}

// connection pairs responses with requests. Both sides of a connection send requests, each counting
// its opaques for itself.
type connection struct {
	recorder *recorder
	waiting  map[string]*exchange
	label    string
}

// Requests by which a connection shows itself to be the broker's.
var brokerRequests = []int{103, 322, 904}

func (c *connection) record(dir direction, bytes []byte) error {
	f, err := decode(bytes)
	if err != nil {
		return err
	}
	f.direction = dir
	r := c.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.response() {
		asked := toServer
		if dir == toServer {
			asked = toClient
		}
		key := fmt.Sprint(asked, f.opaque)
		if ex := c.waiting[key]; ex != nil {
			ex.response = f
			delete(c.waiting, key)
		}
		return nil
	}
	if c.label == "" {
		c.label = r.client
		if slices.Contains(brokerRequests, f.code) {
			c.label = r.broker
		}
	}
	ex := &exchange{client: c.label, request: f}
	r.recorded = append(r.recorded, ex)
	if !f.oneway() {
		c.waiting[fmt.Sprint(dir, f.opaque)] = ex
	}
	return nil
}

func decode(bytes []byte) (*frame, error) {
	if len(bytes) < 8 {
		return nil, fmt.Errorf("frame of %d bytes", len(bytes))
	}
	word := binary.BigEndian.Uint32(bytes[4:])
	length := int(word & 0xff_ffff)
	if 8+length > len(bytes) {
		return nil, fmt.Errorf("header of %d bytes in a frame of %d", length, len(bytes))
	}
	header := bytes[8 : 8+length]
	f := &frame{bytes: bytes, at: time.Now(), body: len(bytes) - 8 - length}
	switch word >> 24 {
	case 0:
		f.serialization = "JSON"
		var fields struct {
			Code, Flag, Opaque int
			Remark             string
			ExtFields          map[string]string
		}
		if err := json.Unmarshal(header, &fields); err != nil {
			return nil, fmt.Errorf("%w in %s", err, header)
		}
		f.code, f.flag, f.opaque = fields.Code, fields.Flag, fields.Opaque
		f.remark, f.ext = fields.Remark, fields.ExtFields
	case 1:
		f.serialization = "ROCKETMQ"
		return f, f.decodeBinary(header)
	default:
		return nil, fmt.Errorf("serialization %d", word>>24)
	}
	return f, nil
}

func (f *frame) decodeBinary(header []byte) error {
	if len(header) < 21 {
		return fmt.Errorf("binary header of %d bytes", len(header))
	}
	int32at := func(at int) int { return int(int32(binary.BigEndian.Uint32(header[at:]))) }
	f.code = int(int16(binary.BigEndian.Uint16(header)))
	f.opaque = int32at(5)
	f.flag = int32at(9)
	at := 17 + int32at(13)
	if at+4 > len(header) || at < 17 {
		return fmt.Errorf("remark past the end")
	}
	ext := header[at+4:]
	if int32at(at) != len(ext) {
		return fmt.Errorf("ext fields of %d bytes, %d left", int32at(at), len(ext))
	}
	f.remark = string(header[17:at])
	f.ext = make(map[string]string)
	for len(ext) > 0 {
		if len(ext) < 2 {
			return fmt.Errorf("cut ext field")
		}
		k := int(binary.BigEndian.Uint16(ext))
		if len(ext) < 2+k+4 {
			return fmt.Errorf("cut ext field")
		}
		v := int(binary.BigEndian.Uint32(ext[2+k:]))
		if len(ext) < 2+k+4+v {
			return fmt.Errorf("cut ext field")
		}
		f.ext[string(ext[2:2+k])] = string(ext[6+k : 6+k+v])
		ext = ext[6+k+v:]
	}
	return nil
}
