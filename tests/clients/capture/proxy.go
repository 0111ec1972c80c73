package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
)

const maxFrame = 16 << 20

// proxy forwards whole frames between a client and a server that listens on the same port number of
// another address, and shows each to the recorder. Bytes are passed on unchanged.
type proxy struct {
	port     string
	upstream string
	listener net.Listener
	rec      *recorder
}

func listen(address, upstreamIP string, rec *recorder) (*proxy, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, err
	}
	p := &proxy{port: port, upstream: net.JoinHostPort(upstreamIP, port), listener: listener, rec: rec}
	go p.accept()
	return p, nil
}

func (p *proxy) close() { _ = p.listener.Close() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.upstream)
		if err != nil {
			// The client sees a closed connection, as it would from a server that is not up.
			_ = client.Close()
			continue
		}
		conn := p.rec.connection()
		var closing sync.Once
		finish := func() { closing.Do(func() { _ = client.Close(); _ = server.Close() }) }
		go func() { defer finish(); forward(client, server, conn, toServer) }()
		go func() { defer finish(); forward(server, client, conn, toClient) }()
	}
}

func forward(from io.Reader, to io.Writer, conn *connection, dir direction) {
	for {
		frame, err := readFrame(from)
		if err != nil {
			return
		}
		if err := conn.record(dir, frame); err != nil {
			log.Printf("frame not understood, dropping the connection: %v", err)
			return
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

// readFrame returns one frame with its length field.
func readFrame(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < 4 || n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	frame := make([]byte, 4+n)
	copy(frame, length[:])
	_, err := io.ReadFull(from, frame[4:])
	return frame, err
}
