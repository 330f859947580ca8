// What server, agents and routers send each other: ARCHITECTURE.md, "Assignment", "Report", "Routes".
#pragma once

#include "model/records.h"

struct assignment {
	char *instance;
	uint32_t generation;
	enum want want;
	char *tenant, *environment, *app, *app_uid;
	char *process;
	uint32_t index, release;
	char *artifact; // digest
	char **layers;  // digests, top first, without the artifact
	uint32_t layer_count;
	char **command; // words in which $NAME is still to be expanded: command.h
	uint32_t command_count;
	struct pair *env;
	uint32_t env_count;
	uint32_t port; // 0: none
	uint64_t memory_bytes;
	uint32_t cpu_millis;
	uint64_t disk_bytes;
	uint32_t pids;
	struct health health;
	uint32_t drain_ms;
	struct restart restart;
};
FIELDS_OBJECT(assignment)

// One message of the agent's stream.
struct assignments {
	uint64_t revision;
	bool full; // what is not in set is to be removed
	struct assignment *set;
	uint32_t set_count;
	char **remove; // instance ids
	uint32_t remove_count;
};
FIELDS_OBJECT(assignments)

// The servers of the platform, as one of them knows them: an event of its stream of them.
struct servers_told {
	uint64_t revision; // of the store, at least
	struct server_info *servers;
	uint32_t server_count;
};
FIELDS_OBJECT(servers_told)

enum instance_state {
	INSTANCE_PENDING,  // layers, create
	INSTANCE_STARTING, // runs, not ready
	INSTANCE_READY,
	INSTANCE_UNREADY, // was ready
	INSTANCE_BACKOFF, // crashed, waits
	INSTANCE_FAILED,  // cannot be started: message
	INSTANCE_STOPPING,
	INSTANCE_STOPPED, // over and cleaned
};
#define INSTANCE_STATES (INSTANCE_STOPPED + 1)
const char *instance_state_name(enum instance_state state);

struct exit_status {
	uint32_t status, signal; // exit status, or the signal that killed it (0: none)
	bool oom;
	bool unknown; // nobody saw it end
	uint64_t at_ms;
	char **lines; // the last of its output
	uint32_t line_count;
};
// One health check, or several in a row that came to the same.
struct probe_result {
	bool ok;
	char *detail;
	uint64_t since_ms, at_ms; // when the first and the last of them ended
	uint32_t count;
	uint32_t took_ms; // the last
};

FIELDS_OBJECT(exit_status)
FIELDS_OBJECT(probe_result)

struct instance_report {
	char *instance;
	uint32_t generation;
	enum instance_state state;
	char *address;
	uint32_t port;
	uint32_t restarts;
	uint64_t started_ms;
	struct exit_status *exit;   // the last one; NULL: never ended
	struct probe_result *probe; // the last one; NULL: none yet
	struct probe_result *probes; // the last different ones, the newest first
	uint32_t probe_count;
	char *message;              // why it is where it is; NULL
};
FIELDS_OBJECT(instance_report)

struct resources {
	uint64_t memory_bytes, disk_bytes;
	uint32_t cpu_millis;
	uint32_t instances;
};

FIELDS_OBJECT(resources)

// How a problem begins that is about the writable place of instances, so that a reader can tell it from others.
#define NODE_PROBLEM_SCRATCH "scratch of instances"

// How an instance's message begins when its health check took it out of the routes: between two runs it is unready, too.
#define INSTANCE_MESSAGE_HEALTH "health check: "

struct node_report {
	char *name, *address, *zone;
	uint64_t memory_bytes, disk_bytes;
	uint32_t cpu_millis;
	struct resources used;
	char **problems; // what somebody should look after there: "what is wrong; what to do"
	uint32_t problem_count;
};

// An app of which the node keeps logs of instances that are over.
struct past_app {
	char *tenant, *environment, *app, *app_uid;
};

struct report {
	char *boot;
	uint64_t seq;
	bool full;
	struct node_report node;
	struct instance_report *instances;
	uint32_t instance_count;
	struct past_app *past; // not in every report; the answer names those that do not exist any more
	uint32_t past_count;
};
FIELDS_OBJECT(report)

enum route_state { ROUTE_RUNNING, ROUTE_STOPPED, ROUTE_FAILING, ROUTE_STARTING };

struct route_instance {
	char *id, *address; // address with port: "100.64.16.3:8080"
};
struct route_entry {
	char *host, *path, *tenant, *environment, *app;
	enum route_state state;
	struct route_instance *instances;
	uint32_t instance_count;
};
struct route_table {
	uint64_t version;
	struct route_entry *routes;
	uint32_t route_count;
};
FIELDS_OBJECT(route_table)

// What a router answers: the version it serves by, and instances with requests in flight.
struct route_ack {
	uint64_t version;
	char **busy;
	uint32_t busy_count;
};
FIELDS_OBJECT(route_ack)
