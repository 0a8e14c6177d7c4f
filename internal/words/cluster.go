package words

import (
	"fmt"

	"hm/internal/api"
)

// ClusterLines says how many members the cluster can lose.
func ClusterLines(s api.ClusterStatus) []Line {
	leader := Say(s.Leader)
	if s.Leader == "" {
		leader = Say(bad("none"))
	}
	may := fmt.Sprintf("may lose %d more", s.MayLose)
	lines := []Line{named("leader", leader)}
	switch {
	case s.MayLose < 0:
		return append(lines, named("voters", fmt.Sprintf("%d of %d healthy, ", s.Healthy, s.Voters), bad("no majority"), fmt.Sprintf(": %d are needed", s.Majority)))
	case s.MayLose == 0 && s.Voters > 1:
		return append(lines, named("voters", fmt.Sprintf("%d of %d healthy, ", s.Healthy, s.Voters), bad("may lose no more")))
	case s.Voters == 1:
		may = "a single node"
	}
	return append(lines, named("voters", fmt.Sprintf("%d of %d healthy, %s", s.Healthy, s.Voters, may)))
}
