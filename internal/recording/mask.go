package recording

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"hm/actual/feed"
	"hm/commands"
	"hm/commands/natspub"
	"hm/desired"
	"hm/internal/app"
)

// mask replaces guids and DEA ids, equal ones by equal ones. Its secret never leaves the process, so nobody can find a
// guid by trying.
type mask struct{ secret []byte }

func newMask() *mask {
	m := &mask{secret: make([]byte, 32)}
	rand.Read(m.secret) // never fails
	return m
}

func (m *mask) sum(kind, text string) [16]byte {
	h := hmac.New(sha256.New, m.secret)
	h.Write([]byte(kind))
	h.Write([]byte(text))
	return [16]byte(h.Sum(nil))
}

func (m *mask) guid(g app.GUID) app.GUID {
	form := byte('u')
	if _, f := g.Binary(); f == 'h' {
		form = 'h'
	}
	return app.FromBinary(m.sum("guid", g.String()), form)
}

func (m *mask) key(k app.Key) app.Key {
	return app.Key{Droplet: m.guid(k.Droplet), Version: m.guid(k.Version)}
}

func (m *mask) dea(id string) string {
	sum := m.sum("dea", id)
	return hex.EncodeToString(sum[:])
}

func (m *mask) command(id commands.ID) commands.ID { return m.sum("id", id.String()) }

func (m *mask) read(r desired.Read) desired.Read {
	apps := slices.Clone(r.Apps)
	for i := range apps {
		apps[i].Key = m.key(apps[i].Key)
	}
	out, err := desired.NewRead("", apps)
	if err != nil {
		return desired.Read{} // impossible: different guids stay different
	}
	var unreadable []app.GUID
	for _, g := range r.Unreadable {
		unreadable = append(unreadable, m.guid(g))
	}
	if out, err = out.WithUnreadable(unreadable); err != nil {
		return desired.Read{}
	}
	return out
}

// message returns a message with replaced names and only what hm needs of it; false if it cannot be decoded.
func (m *mask) message(subject string, data []byte) ([]byte, bool) {
	switch subject {
	case feed.SubjectHeartbeat:
		hb, err := feed.DecodeHeartbeat(data)
		if err != nil {
			return nil, false
		}
		hb.DEA = m.dea(hb.DEA)
		for i := range hb.Instances {
			hb.Instances[i].App, hb.Instances[i].GUID = m.key(hb.Instances[i].App), m.guid(hb.Instances[i].GUID)
		}
		return EncodeHeartbeat(hb), true
	case feed.SubjectExited:
		e, err := feed.DecodeExit(data)
		if err != nil {
			return nil, false
		}
		e.App, e.Instance = m.key(e.App), m.guid(e.Instance)
		return EncodeExit(e), true
	case feed.SubjectUpdated:
		g, err := feed.DecodeUpdated(data)
		if err != nil {
			return nil, false
		}
		return []byte(`{"droplet":"` + m.guid(g).String() + `"}`), true
	case natspub.SubjectStart:
		s, err := natspub.DecodeStart(data)
		if err != nil {
			return nil, false
		}
		k := m.key(app.Key{Droplet: s.Droplet, Version: s.Version})
		c := commands.Command{ID: m.sum("id", s.MessageID), Action: commands.Start, App: k, Index: s.Index}
		return natspub.EncodeStart(c, commands.Spelling{}), true
	case natspub.SubjectStop:
		s, err := natspub.DecodeStop(data)
		if err != nil {
			return nil, false
		}
		k := m.key(app.Key{Droplet: s.Droplet, Version: s.Version})
		c := commands.Command{
			ID: m.sum("id", s.MessageID), Action: commands.Stop, App: k,
			Instance: m.guid(s.Instance), Index: s.Index, Reason: commands.ReasonExtra,
		}
		if s.IsDuplicate {
			c.Reason = commands.ReasonDuplicate
		}
		return natspub.EncodeStop(c, commands.Spelling{}), true
	}
	return nil, false
}
