package api

import (
	"time"

	"hm/internal/metrics"
)

// TLSFiles says what the answering node knows of the certificates, keys and authorities of one of its listeners or
// clients.
type TLSFiles struct {
	Name   string    `json:"name"`    // what they are for, as the configuration calls it: raft.tls
	ReadAt Timestamp `json:"read_at"` // when those in force were read
	// Error is why newer files are not in force; missing if there are none.
	Error        string        `json:"error,omitempty"`
	Since        Timestamp     `json:"since"`        // since when newer files are not in force; null if there are none
	Certificates []Certificate `json:"certificates"` // those in force; never null
}

// Certificate is one certificate in force; of a file of authorities, the one that expires last.
type Certificate struct {
	Key     string    `json:"key"`     // of the configuration
	Expires Timestamp `json:"expires"` // by its own word
}

// tlsFiles gives what the node knows of its certificates; none without TLS.
func (s *Server) tlsFiles() (all []TLSFiles) {
	for _, t := range s.opts.TLSFiles.States() {
		f := TLSFiles{Name: t.Name, ReadAt: stamp(t.ReadAt), Since: stamp(t.ErrSince), Certificates: []Certificate{}}
		if t.Err != nil {
			f.Error = t.Err.Error()
		}
		for _, e := range t.Expiries {
			f.Certificates = append(f.Certificates, Certificate{e.Key, stamp(e.At)})
		}
		all = append(all, f)
	}
	return all
}

// certificates sends what the node knows of its certificates.
func (c *collector) certificates(send func(*metrics.Metric, float64, ...string)) {
	now := c.s.opts.Clock()
	for _, t := range c.s.opts.TLSFiles.States() {
		for _, e := range t.Expiries {
			send(metrics.CertificateExpires, e.At.Sub(now).Truncate(time.Second).Seconds(), e.Key)
		}
		send(metrics.CertificatesRefused, bit(t.Err != nil), t.Name)
		send(metrics.CertificatesRead, float64(t.Taken), t.Name, "taken")
		send(metrics.CertificatesRead, float64(t.Refusals), t.Name, "refused")
	}
}
