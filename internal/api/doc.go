// Package api is hm's HTTP API: its JSON types, the server that every node runs, the client that the CLI uses, the
// compatibility endpoints that a Cloud Controller asks (POST /bulk_app_state; over NATS app.state, app.state.bulk and
// healthmanager.*), health checks and metrics. It decides nothing: what it says about drift comes from reconcile.Evaluator, by which
// the leader acts.
//
// Any node answers reads from its own replica. Each answer has a basis: the index of the newest entry that it
// includes, the time since the node last heard from the leader, and the leader. Objects carry it in "basis"; every
// answer carries it in the headers X-Hm-Index, X-Hm-Age-Ms, X-Hm-Leader, X-Hm-Node and X-Hm-At. The other nodes
// forward writes to the leader.
//
// Lists are bare JSON arrays, in pages: limit says how many items, and the header X-Hm-Next-Cursor (with a Link
// header, rel="next") gives the cursor of the next page; it is missing on the last one.
//
// Times are RFC 3339 with milliseconds, or null for never. They are hm time plus the difference between the wall
// clock of the answering node and hm time when it answers.
package api
