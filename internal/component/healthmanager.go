package component

import (
	"time"

	"hm/commands"
	"hm/internal/api"
)

// healthManager is the varz of the Ruby Health Manager (M17 to M31).
type healthManager struct {
	common
	TotalUsers *int       `json:"total_users,omitempty"`
	Users      []struct{} `json:"users"` // always empty, and so is Apps
	Apps       []struct{} `json:"apps"`
	Total      totals     `json:"total"`
	Running    running    `json:"running"`

	TotalApps         int `json:"total_apps"`
	TotalInstances    int `json:"total_instances"`
	RunningInstances  int `json:"running_instances"`
	MissingInstances  int `json:"missing_instances"`
	CrashedInstances  int `json:"crashed_instances"`
	FlappingInstances int `json:"flapping_instances"`

	BulkUpdateLoopDuration float64 `json:"bulk_update_loop_duration"` // seconds
	AnalysisLoopDuration   float64 `json:"analysis_loop_duration"`    // seconds
	QueueLength            int     `json:"queue_length"`

	Heartbeats    uint64   `json:"heartbeat_msgs_received"`
	Exits         uint64   `json:"droplet_exited_msgs_received"`
	Updates       uint64   `json:"droplet_updated_msgs_received"`
	StatusAsked   uint64   `json:"healthmanager_status_msgs_received"`
	HealthAsked   uint64   `json:"healthmanager_health_request_msgs_received"`
	DropletsAsked uint64   `json:"healthmanager_droplet_request_msgs_received"`
	StartsSent    uint64   `json:"health_start_messages_sent"`
	StopsSent     uint64   `json:"health_stop_messages_sent"`
	VarzPublishes int      `json:"varz_publishes"`
	VarzHolds     int      `json:"varz_holds"`
	Droplets      struct{} `json:"droplets"`
	State         string   `json:"state"`
	LastUpKnown   *string  `json:"last_up_known"`
}

// totals are M19 and M20. The members memory and started_memory are left out: hm does not know the memory of apps.
type totals struct {
	Apps             int `json:"apps"`
	StartedApps      int `json:"started_apps"`
	Instances        int `json:"instances"`
	StartedInstances int `json:"started_instances"`
}

// running is M25.
type running struct {
	Apps              int `json:"apps"`
	Crashes           int `json:"crashes"`
	RunningInstances  int `json:"running_instances"`
	MissingInstances  int `json:"missing_instances"`
	FlappingInstances int `json:"flapping_instances"`
}

func healthManagerVarz(now common, f api.Figures, readTook time.Duration, users *int) healthManager {
	v := healthManager{
		common: now, TotalUsers: users, Users: []struct{}{}, Apps: []struct{}{}, State: "RUNNING",
		Total: totals{
			Apps: f.Apps.Desired, StartedApps: f.Apps.Started,
			Instances: f.Apps.DesiredInstances, StartedInstances: f.Apps.StartedInstances,
		},
		Running: running{
			Apps: f.Apps.Started, Crashes: f.Apps.Crashes, RunningInstances: f.Apps.Running,
			MissingInstances: f.Apps.Missing, FlappingInstances: f.Apps.Flapping,
		},
		TotalApps: f.Apps.Desired, TotalInstances: f.Apps.DesiredInstances,
		RunningInstances: f.Apps.Running, MissingInstances: f.Apps.Missing, FlappingInstances: f.Apps.Flapping,
		CrashedInstances:       f.Fleet.CrashedInstances,
		BulkUpdateLoopDuration: readTook.Seconds(), AnalysisLoopDuration: f.Pass.Seconds(), QueueLength: f.Queue,
		Heartbeats: f.Heard.Heartbeats, Exits: f.Heard.Exits, Updates: f.Heard.Updates,
		StatusAsked: f.Asked.Status, HealthAsked: f.Asked.Health, DropletsAsked: f.Asked.Droplet,
	}
	for reason, n := range f.Sent {
		switch reason {
		case commands.ReasonMissing, commands.ReasonCrashed, commands.ReasonEvacuating:
			v.StartsSent += n
		default:
			v.StopsSent += n
		}
	}
	return v
}
