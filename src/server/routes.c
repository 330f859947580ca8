#include "server/artifacts.h"
#include "server/audit.h"
#include "server/authority.h"
#include "server/builds.h"
#include "server/deploy.h"
#include "server/env.h"
#include "server/events.h"
#include "server/lead.h"
#include "server/list.h"
#include "server/nodes.h"
#include "server/openapi.h"
#include "server/operate.h"
#include "server/passthrough.h"
#include "server/release.h"
#include "server/route.h"
#include "server/routers.h"
#include "server/status.h"
#include "server/store_api.h"
#include "server/store_switch.h"
#include "server/views.h"
#include "server/watch.h"
#include "server/why.h"

#define TENANT "/v1/tenants/{tenant}"
#define APPS TENANT "/environments/{environment}/apps"
#define APP APPS "/{app}"

#define READS .access = ACCESS_OPERATOR, .status = 200
#define CHANGES .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES | ROUTE_IF_MATCH | ROUTE_ETAG
#define CHANGES_IF_IT_DIFFERS                                                                                          \
	.access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES | ROUTE_IF_MATCH | ROUTE_ETAG | ROUTE_MAY_KEEP
#define ONE(fields_) .answer = ANSWER_JSON, .of = &fields_
#define MANY(fields_) .answer = ANSWER_LIST, .of = &fields_
#define TAKES(fields_) .body_kind = BODY_JSON, .body = &fields_
#define TAKES_NOTHING TAKES(nothing_fields)
#define ENV_SCHEMA                                                                                                     \
	"{\"type\":\"object\",\"description\":\"null "                                                                 \
	"removes\",\"additionalProperties\":{\"type\":[\"string\",\"null\"]}}"

#define OBJECT_SCHEMA(properties_) "{\"type\":\"object\",\"properties\":{" properties_ "}}"
#define TEXTS_SCHEMA "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}"
#define LIST_SCHEMA(name_) "\"" name_ "\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"
#define MISSING_SCHEMA OBJECT_SCHEMA(LIST_SCHEMA("missing"))
#define STORED_SCHEMA OBJECT_SCHEMA("\"stored\":{\"type\":\"integer\"}")
#define HEARD_SCHEMA OBJECT_SCHEMA("\"full\":{\"type\":\"boolean\"}," LIST_SCHEMA("gone"))
#define TEXT_SCHEMA(name_) "\"" name_ "\":{\"type\":\"string\"}"
#define AUTHORITY_SCHEMA OBJECT_SCHEMA(TEXT_SCHEMA("platform") "," TEXT_SCHEMA("certificate") "," TEXT_SCHEMA("fingerprint"))
#define CERTIFICATE_SCHEMA                                                                                             \
	OBJECT_SCHEMA(TEXT_SCHEMA("certificate") "," TEXT_SCHEMA("authority") ",\"until_ms\":{\"type\":\"integer\"}")
#define FROZEN_SCHEMA OBJECT_SCHEMA("\"epoch\":{\"type\":\"string\"},\"revision\":{\"type\":\"integer\"}")
#define HEALTH_SCHEMA OBJECT_SCHEMA("\"status\":{\"type\":\"string\"}")

// An empty object, or no body at all.
static const struct fields nothing_fields = { .name = "Nothing", .size = 1 };

static const struct route_query log_queries[] = {
	{ "follow", "boolean", "go on with what is written from now on" },
	{ "since_ms", "integer", "from this unix time in milliseconds" },
	{ "process", "string", "of this process only" },
	{ "tail", "integer", "at most this many lines of what is there" },
	{},
};

static const struct route_query content_queries[] = {
	{ "base", "string",
	  "digest of an artifact that the reader has: files with the content of one of its are left out" },
	{},
};

const struct route routes[] = {
	{ "GET", APPS, READS, MANY(app_view_fields), .queries = list_queries, .summary = "List apps",
	  .run = apps_list },
	{ "GET", APP, READS, ONE(app_view_fields), .flags = ROUTE_ETAG, .summary = "Show an app", .run = apps_get },
	{ "PUT", APP, CHANGES_IF_IT_DIFFERS, TAKES(deployment_fields), ONE(app_view_fields), .status = 202,
	  .summary = "Make a release of a spec and an artifact, and roll it out", .run = deploy_put },
	{ "DELETE", APP, CHANGES, .status = 204, .summary = "Delete an app, its releases and events",
	  .run = apps_delete },
	{ "POST", APP "/plan", READS, TAKES(deployment_fields), ONE(plan_view_fields),
	  .summary = "Show what PUT would change", .run = deploy_plan },
	{ "POST", APP "/scale", CHANGES_IF_IT_DIFFERS, TAKES(scale_fields), ONE(app_view_fields), .status = 202,
	  .summary = "Set how many instances a process has", .run = apps_scale },
	{ "POST", APP "/stop", CHANGES_IF_IT_DIFFERS, TAKES_NOTHING, ONE(app_view_fields), .status = 202,
	  .summary = "Stop an app", .run = apps_stop },
	{ "POST", APP "/start", CHANGES_IF_IT_DIFFERS, TAKES_NOTHING, ONE(app_view_fields), .status = 202,
	  .summary = "Start a stopped app", .run = apps_start },
	{ "POST", APP "/restart", CHANGES, TAKES_NOTHING, ONE(app_view_fields), .status = 202,
	  .summary = "Replace all instances, new before old", .run = apps_restart },
	{ "POST", APP "/rollback", CHANGES_IF_IT_DIFFERS, TAKES(rollback_fields), ONE(app_view_fields), .status = 202,
	  .summary = "Make a release with the content of an earlier one", .run = apps_rollback },
	{ "GET", APP "/env", READS, .answer = ANSWER_JSON, .answer_schema = TEXTS_SCHEMA, .flags = ROUTE_ETAG,
	  .summary = "Show the environment", .run = env_get },
	{ "PATCH", APP "/env", CHANGES_IF_IT_DIFFERS, .body_kind = BODY_JSON, .body_schema = ENV_SCHEMA,
	  ONE(app_view_fields), .status = 202, .summary = "Change the environment, as a new release",
	  .run = env_patch },
	{ "GET", APP "/releases", READS, MANY(release_view_fields), .queries = list_queries,
	  .summary = "List releases, newest first", .run = releases_list },
	{ "GET", APP "/instances", READS, MANY(instance_view_fields), .queries = list_queries,
	  .summary = "List instances", .run = apps_instances },
	{ "GET", APP "/events", READS, MANY(event_fields), .queries = list_queries,
	  .summary = "List what happened, newest first", .run = events_list },
	{ "GET", APP "/why", READS, ONE(why_view_fields), .summary = "Say why it does not run as wanted",
	  .run = why_app },
	{ "GET", APP "/watch", READS, .answer = ANSWER_EVENTS, .of = &watch_view_fields,
	  .summary = "Follow the app: an event `state` at once and at each change", .run = watch_app },
	{ "GET", APP "/logs", READS, .answer = ANSWER_EVENTS, .flags = ROUTE_RESUMES, .queries = log_queries,
	  .summary = "Read the log: events `log`, `gap`, `end`", .run = passthrough_logs },
	{ "POST", APP "/run", .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES, TAKES(exec_request_fields),
	  .status = 101, .answer = ANSWER_UPGRADE,
	  .summary = "Run a one-off command in a fresh container; Upgrade: dialtone-stream", .run = passthrough_run },
	{ "POST", APP "/instances/{instance}/exec", .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES,
	  TAKES(exec_request_fields), .status = 101, .answer = ANSWER_UPGRADE,
	  .summary = "Run a command inside an instance; Upgrade: dialtone-stream", .run = passthrough_exec },

	{ "POST", TENANT "/blobs/missing", .access = ACCESS_NODE, .status = 200, TAKES(digests_fields),
	  .body_max = 32 << 20, .answer = ANSWER_JSON, .answer_schema = MISSING_SCHEMA,
	  .summary = "Say which of these blobs are not there", .run = artifacts_missing },
	{ "POST", TENANT "/blobs", .access = ACCESS_NODE, .status = 200, .body_kind = BODY_STREAM,
	  .body_type = "application/x-tar", .answer = ANSWER_JSON, .answer_schema = STORED_SCHEMA,
	  .summary = "Upload blobs, as a tar whose entries are named by digest", .run = artifacts_blobs },
	{ "PUT", TENANT "/artifacts/{digest}", .access = ACCESS_NODE, .flags = ROUTE_CHANGES, .status = 200,
	  .body_kind = BODY_STREAM, .body_type = "text/plain", ONE(stored_artifact_fields),
	  .summary = "Put an artifact's manifest; 409 names blobs that are missing", .run = artifacts_put },
	{ "GET", TENANT "/artifacts/{digest}", .access = ACCESS_NODE, .status = 200, .answer = ANSWER_BYTES,
	  .answer_type = "text/plain", .summary = "Read an artifact's manifest", .run = artifacts_get },
	{ "GET", TENANT "/artifacts/{digest}/content", .access = ACCESS_NODE, .status = 200, .answer = ANSWER_BYTES,
	  .answer_type = "application/x-tar", .queries = content_queries, .summary = "Read a whole artifact",
	  .run = artifacts_content },
	{ "POST", TENANT "/builds", .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES, TAKES(build_request_fields),
	  .status = 200, .answer = ANSWER_EVENTS,
	  .summary = "Run a build command: events `output`, then `result` or `failed`", .run = builds_post },

	{ "GET", "/v1/nodes", READS, MANY(node_view_fields), .queries = list_queries, .summary = "List nodes",
	  .run = nodes_list },
	{ "GET", "/v1/stacks", READS, MANY(stack_view_fields), .summary = "List stacks", .run = status_stacks },
	{ "GET", "/v1/runtimes", READS, MANY(runtime_view_fields), .summary = "List runtimes", .run = status_runtimes },
	{ "GET", "/v1/status", READS, ONE(status_view_fields), .summary = "Show the platform as a whole",
	  .run = status_get },
	{ "GET", "/v1/store", READS, ONE(store_info_fields), .summary = "Show the store: its size, members, warnings",
	  .run = store_api_get },
	{ "GET", "/v1/store/backup", READS, .answer = ANSWER_BYTES, .answer_type = "application/octet-stream",
	  .summary = "Read everything the store holds, secrets too, at one revision", .run = store_api_backup },
	{ "POST", "/v1/store/compact", .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES, .status = 200, TAKES_NOTHING,
	  ONE(store_info_fields), .summary = "Remove what is superseded", .run = store_api_compact },
	{ "POST", "/v1/store/freeze", .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES, .status = 200,
	  TAKES(store_freeze_fields), .answer = ANSWER_JSON, .answer_schema = FROZEN_SCHEMA,
	  .summary = "Take no changes for a while, so that the store can be moved", .run = store_freeze },
	{ "POST", "/v1/store/thaw", .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES, .status = 204, TAKES_NOTHING,
	  .summary = "Take changes again", .run = store_thaw },
	{ "POST", "/v1/store/switch", .access = ACCESS_OPERATOR, .flags = ROUTE_CHANGES, .status = 204,
	  TAKES(store_choice_fields), .summary = "Start again on another store, which holds what this one does",
	  .run = store_switch },
	{ "GET", "/v1/audit", READS, MANY(audit_view_fields), .queries = list_queries,
	  .summary = "List the audit trail, newest first", .run = audit_list },

	{ "GET", "/v1/servers/watch", .access = ACCESS_NODE, .status = 200, .answer = ANSWER_EVENTS,
	  .of = &servers_told_fields, .summary = "Follow which servers there are, and which one decides",
	  .run = servers_stream },
	{ "GET", "/v1/nodes/{node}/assignments", .access = ACCESS_NODE, .status = 200, .answer = ANSWER_EVENTS,
	  .of = &assignments_fields, .summary = "Agents: follow what the node is to run", .run = nodes_stream },
	{ "POST", "/v1/nodes/{node}/report", .access = ACCESS_NODE, .flags = ROUTE_LENIENT, .status = 200,
	  TAKES(report_fields), .body_max = 32 << 20, .answer = ANSWER_JSON, .answer_schema = HEARD_SCHEMA,
	  .summary = "Agents: say what the node runs; `full` in the answer asks for everything", .run = nodes_report },
	{ "GET", "/v1/routers/{router}/routes", .access = ACCESS_NODE, .status = 200, .answer = ANSWER_EVENTS,
	  .of = &route_table_fields, .summary = "Routers: follow the route table", .run = routers_stream },
	{ "POST", "/v1/routers/{router}/ack", .access = ACCESS_NODE, .flags = ROUTE_LENIENT, .status = 204,
	  TAKES(route_ack_fields), .summary = "Routers: say which table serves, and which instances are busy",
	  .run = routers_ack },

	{ "GET", "/v1/authority", .access = ACCESS_ANYONE, .status = 200, .answer = ANSWER_JSON,
	  .answer_schema = AUTHORITY_SCHEMA, .summary = "Show the certificate of the platform's authority",
	  .run = authority_get },
	{ "POST", "/v1/certificates", .access = ACCESS_NODE, .flags = ROUTE_UNPROVEN, .status = 200,
	  TAKES(certificate_request_fields), .answer = ANSWER_JSON, .answer_schema = CERTIFICATE_SCHEMA,
	  .summary = "Agents and routers: get a certificate for their machine, good for a day", .run = certificates_post },

	{ "GET", "/v1/openapi.json", .access = ACCESS_ANYONE, .status = 200, .answer = ANSWER_JSON,
	  .summary = "Show this document", .run = openapi_get },
	{ "GET", "/livez", .access = ACCESS_ANYONE, .status = 200, .answer = ANSWER_JSON,
	  .answer_schema = HEALTH_SCHEMA, .summary = "Say whether it is alive", .run = status_livez },
	{ "GET", "/readyz", .access = ACCESS_ANYONE, .status = 200, .answer = ANSWER_JSON,
	  .answer_schema = HEALTH_SCHEMA, .summary = "Say whether it is ready, and what is missing",
	  .run = status_readyz },
};

const size_t n_routes = ARRAY_LEN(routes);
