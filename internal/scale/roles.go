package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/nats-io/nats.go"

	"hm/internal/sim"
)

// The program plays the small parts itself, each in a process of its own.
const (
	roleVariable = "HM_SCALE_ROLE"
	roleNATS     = "nats" // a NATS server on the port HM_SCALE_PORT
	roleBare     = "bare" // a subscriber to HM_SCALE_NATS that throws everything away

	portVariable, natsVariable = "HM_SCALE_PORT", "HM_SCALE_NATS"
)

func play(role string) int {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	switch role {
	case roleNATS:
		port, err := strconv.Atoi(os.Getenv(portVariable))
		if err != nil {
			fmt.Fprintln(os.Stderr, portVariable, err)
			return 1
		}
		s, err := sim.StartNATS(sim.NATSOptions{Port: port})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		<-ended
		s.Stop()
	case roleBare:
		nc, err := nats.Connect(os.Getenv(natsVariable), nats.MaxReconnects(-1))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer nc.Close()
		for _, subject := range []string{"dea.heartbeat", "droplet.exited"} {
			if _, err := nc.Subscribe(subject, func(*nats.Msg) {}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		<-ended
	}
	return 0
}
