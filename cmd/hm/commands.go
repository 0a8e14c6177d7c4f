package main

import "github.com/spf13/cobra"

// commandConstructors lists every sub-command of hm, one line each. The order is that of the help.
var commandConstructors = []func(*cli) *cobra.Command{
	newServerCommand,
	newStatusCommand,
	newReadyCommand,
	newDriftCommand,
	newExplainCommand,
	newAppsCommand,
	newAppCommand,
	newDEAsCommand,
	newDEACommand,
	newCommandsCommand,
	newEventsCommand,
	newTopCommand,
	newHoldsCommand,
	newHoldCommand,
	newReleaseCommand,
	newPauseCommand,
	newResumeCommand,
	newClusterCommand,
	newSnapshotCommand,
	newRecordCommand,
	newReplayCommand,
	newSimCommand,
	newDevCommand,
	newConfigCommand,
	newVersionCommand,
	newDocsCommand,
}
