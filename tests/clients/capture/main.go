// Captures golden frames: starts Apache RocketMQ 5.5.0, puts a recording proxy in front of its name
// server and its broker, lets the official clients talk through it, and keeps the first exchange of
// each kind in net/wire/tests/golden.
//
// The servers listen on 127.0.0.1, the proxies on 127.0.0.2 with the same port numbers. The broker
// is told that its address is 127.0.0.2 (brokerIP1), so routes lead clients to the proxy without any
// frame being rewritten; the broker itself is given the proxied name server.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// Label of a broker with compressedRegister=true, which compresses the body and says that it did not.
	mislabelling = "broker-compressed"

	serverIP = "127.0.0.1"
	proxyIP  = "127.0.0.2"
)

// phase is one start of the servers and the clients that are run against it.
type phase struct {
	servers []string // further lines of broker.conf
	jvm     string   // JVM options of servers and Java client
	broker  string   // label of the broker in frames that it sends to the name server
	clients []client
}

type client struct {
	label   string
	command []string // relative to the repository
}

func main() {
	root := flag.String("root", "../../..", "the repository")
	work := flag.String("work", "", "directory for stores and logs (default: a temporary one)")
	flag.Parse()
	if err := capture(*root, *work); err != nil {
		log.Fatal(err)
	}
}

func capture(root, work string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if work == "" {
		if work, err = os.MkdirTemp("", "ringmq-capture"); err != nil {
			return err
		}
		defer os.RemoveAll(work)
	}
	const binary = "-Drocketmq.serialize.type=ROCKETMQ"
	phases := []phase{
		{broker: "broker", clients: []client{
			{"java", []string{"tests/clients/java/run.sh", "traffic"}},
			{"go", []string{"tests/clients/go/run.sh", "traffic"}},
		}},
		{broker: "broker-binary", jvm: binary, clients: []client{
			{"java-binary", []string{"tests/clients/java/run.sh", "traffic"}},
		}},
		// No client could work here: this broker never gets registered (see the README of the set).
		{broker: mislabelling, servers: []string{"compressedRegister=true"}},
	}
	rec := newRecorder()
	for i, p := range phases {
		if err := runPhase(root, filepath.Join(work, fmt.Sprint(i)), p, rec); err != nil {
			return fmt.Errorf("phase %d: %w", i, err)
		}
	}
	return writeGolden(filepath.Join(root, "net/wire/tests/golden"), rec.exchanges())
}

func runPhase(root, dir string, p phase, rec *recorder) error {
	rec.label("", p.broker)
	// The proxy for the name server has to exist before the broker first registers, so its port is
	// settled first: the proxy takes a free one on its own address and the server the same on its.
	namesrv, err := listen(proxyIP+":0", serverIP, rec)
	if err != nil {
		return err
	}
	defer namesrv.close()
	args := append([]string{"standalone", "--dir", dir, "--ip", serverIP,
		"--namesrv-port", namesrv.port, "namesrvAddr=" + proxyIP + ":" + namesrv.port,
		"brokerIP1=" + proxyIP, "brokerIP2=" + proxyIP}, p.servers...)
	servers := exec.Command(filepath.Join(root, "tests/apache/run.sh"), args...)
	servers.Env = append(os.Environ(), "JAVA_OPTS="+p.jvm)
	servers.Stderr = os.Stderr
	stdout, err := servers.StdoutPipe()
	if err != nil {
		return err
	}
	if err := servers.Start(); err != nil {
		return err
	}
	defer stop(servers)
	brokerPort, err := readyPort(bufio.NewScanner(stdout))
	if err != nil {
		return err
	}
	broker, err := listen(proxyIP+":"+brokerPort, serverIP, rec)
	if err != nil {
		return err
	}
	defer broker.close()
	for _, c := range p.clients {
		rec.label(c.label, p.broker)
		command := exec.Command(filepath.Join(root, c.command[0]), append(c.command[1:], proxyIP+":"+namesrv.port)...)
		command.Env = append(os.Environ(), "JAVA_OPTS="+p.jvm)
		command.Stdout, command.Stderr = os.Stderr, os.Stderr
		if err := command.Run(); err != nil {
			return fmt.Errorf("%s: %w", c.label, err)
		}
	}
	return nil
}

// readyPort reads the servers' output up to the ready line and returns the broker's port.
func readyPort(lines *bufio.Scanner) (string, error) {
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "ready ") {
			continue
		}
		_, address, found := strings.Cut(line, "broker="+serverIP+":")
		if !found {
			return "", fmt.Errorf("no broker address in %q", line)
		}
		return address, nil
	}
	return "", fmt.Errorf("the servers ended before they were ready: %w", lines.Err())
}

// stop ends the servers as an operator would, so that unregistration (104) is on the wire too.
func stop(servers *exec.Cmd) {
	_ = servers.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- servers.Wait() }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		_ = servers.Process.Kill()
		<-ended
	}
}
