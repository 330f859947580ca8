// The objects in the store: one struct and one field table each. Keys: ARCHITECTURE.md, "Store keys".
#pragma once

#include "model/spec.h"

struct tenant {
	char *name, *uid;
	uint64_t created_ms;
};
FIELDS_OBJECT(tenant)

struct environment {
	char *tenant, *name, *uid;
	uint64_t created_ms;
};
FIELDS_OBJECT(environment)

struct app {
	char *tenant, *environment, *name, *uid;
	uint64_t created_ms, updated_ms;
	uint32_t release;      // the one wanted now
	uint32_t last_release; // the highest number given out
	uint32_t restart;      // counted up by each restart that an operator asked for
	bool stopped;
	struct count *counts; // process → instances, where they differ from the release's spec
	uint32_t count_count;
	struct spec spec; // that of the wanted release, for readers
};
FIELDS_OBJECT(app)

// How many instances of a process the app wants (0 when stopped or unknown).
uint32_t app_wanted(const struct app *app, const char *process);

struct release {
	char *tenant, *environment, *app, *app_uid;
	uint32_t number;
	uint64_t created_ms;
	char *by;              // token name
	char *reason;          // "push", "env", "rollback to 3" …
	char *artifact;        // digest
	char *stack, *runtime; // with exact versions: "debian-12-minimal@12.9", "node@20.11.1"; runtime NULL: none
	char **layers;         // digests, top first, without the artifact
	uint32_t layer_count;
	struct pair *base_env; // from stack and runtime (PATH …), below the spec's own
	uint32_t base_env_count;
	bool shell;   // the stack has /bin/sh
	bool came_up; // all its instances were ready at some time
	struct spec spec;
};
FIELDS_OBJECT(release)

enum want { WANT_RUN, WANT_STOP };

struct placement {
	char *instance; // id
	char *node;
	char *tenant, *environment, *app, *app_uid;
	char *process;
	uint32_t index;
	uint32_t release;
	uint32_t restart; // the app's restart number when it was placed
	uint32_t generation;
	uint32_t moves; // how often in a row this index was placed anew because of crashes
	enum want want;
	char *replaces; // instance id; NULL
	char *reason;   // of the last change, for people
	uint64_t created_ms;
	uint64_t stop_ms; // when want became stop; 0 before
};
FIELDS_OBJECT(placement)

enum node_state { NODE_READY, NODE_LOST, NODE_DRAINING };

struct node {
	char *name, *address, *zone, *boot;
	enum node_state state;
	uint64_t since_ms; // of the state
	uint64_t memory_bytes, disk_bytes;
	uint32_t cpu_millis;
};
FIELDS_OBJECT(node)

// v1/artifacts/T/DIGEST; not to be mixed up with the struct artifact of src/image, the manifest itself.
struct stored_artifact {
	char *digest, *tenant;
	uint64_t size_bytes, created_ms;
	uint32_t files;
	char *by;
	char **servers; // names of those that have its files; none: the only one
	uint32_t server_count;
};
FIELDS_OBJECT(stored_artifact)

// v1/builds/T/KEY
struct build_result {
	char *key, *artifact;
	uint64_t created_ms;
	uint32_t took_ms;
};
FIELDS_OBJECT(build_result)

enum token_role { ROLE_OPERATOR, ROLE_NODE };

struct token {
	char *name, *hash; // digest of the token's text
	enum token_role role;
	uint64_t created_ms;
	char *server; // whose token file says so; NULL: of the only one
};
FIELDS_OBJECT(token)

// v1/servers/NAME, and v1/leader: of the one that decides.
struct server_info {
	char *name, *api, *version; // api: "http://ADDR:PORT"
	uint64_t term;              // to others: above 0 for the one that decides; a later one has a greater one
};
FIELDS_OBJECT(server_info)

struct event {
	uint64_t seq, at_ms;
	char *type; // "deployed", "scaled", "placed", "ready", "crashed", "stopped", "failed" …
	char *message;
	char *process, *instance, *node, *by; // NULL where they do not apply
	uint32_t release;                     // 0 likewise
	uint32_t index;                       // of the instance in its process
};
FIELDS_OBJECT(event)

struct audit {
	uint64_t seq, at_ms;
	char *who, *role; // token name and role; "-" for a request without a valid one
	char *from;       // peer address
	char *action;     // "PUT /v1/tenants/…"
	char *object;     // store key that changed; NULL when none did; "target" in JSON
	char *outcome;    // "done", "denied", "refused", "failed"
	uint32_t status;  // HTTP
	char *detail;     // NULL
};
FIELDS_OBJECT(audit)
