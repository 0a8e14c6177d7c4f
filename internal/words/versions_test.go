package words

import (
	"strings"
	"testing"

	"hm/internal/api"
)

func TestMixedVersions(t *testing.T) {
	node := func(id, version string) api.ClusterNode { return api.ClusterNode{ID: id, Version: version} }
	for _, tt := range []struct {
		name  string
		nodes []api.ClusterNode
		want  string
	}{
		{"one version", []api.ClusterNode{node("hm-0", "v0.1.0"), node("hm-1", "v0.1.0")}, ""},
		{"one has not told", []api.ClusterNode{node("hm-0", "v0.1.0"), node("hm-1", "")}, ""},
		{"two versions", []api.ClusterNode{node("hm-0", "v0.2.0"), node("hm-1", "v0.1.0"), node("hm-2", "v0.2.0")},
			"different versions of hm: v0.1.0 (hm-1); v0.2.0 (hm-0, hm-2)"},
	} {
		if got := mixedVersions(tt.nodes); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		lines := MemberTroubles(tt.nodes, "hm-0")
		if told := len(lines) > 0 && strings.Contains(lines[0].Text.String(), "different versions"); told != (tt.want != "") {
			t.Errorf("%s: the status says %v", tt.name, lines)
		}
	}
}
