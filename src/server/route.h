// The API as a table: each row is one method on one path, with what it takes, what it answers, who may call it, and the
// function that does it. Dispatch, the check of bodies and the OpenAPI document all come from these rows.
#pragma once

#include "model/fields.h"
#include "server/request.h"

enum answer_kind { ANSWER_NOTHING, ANSWER_JSON, ANSWER_LIST, ANSWER_EVENTS, ANSWER_BYTES, ANSWER_UPGRADE };
enum body_kind { BODY_NONE, BODY_JSON, BODY_STREAM };

enum route_flags {
	ROUTE_CHANGES = 1 << 0,  // audited, also when it is refused
	ROUTE_IF_MATCH = 1 << 1, // honours If-Match
	ROUTE_ETAG = 1 << 2,     // answers with an ETag
	ROUTE_LENIENT = 1 << 3,  // the body comes from another version of the platform: unknown keys are passed over
	ROUTE_MAY_KEEP = 1 << 4, // answers 200 when nothing differs
	ROUTE_RESUMES = 1 << 5,  // honours Last-Event-ID
	ROUTE_UNPROVEN = 1 << 6, // under TLS, a node's token is enough: no certificate needed
};

struct route_query {
	const char *name, *type, *about; // type: of JSON Schema
};

struct route {
	const char *method, *path; // "/v1/nodes/{node}"; a parameter is a whole segment
	enum access access;        // the least one
	enum body_kind body_kind;
	const struct fields *body; // BODY_JSON: what it must be; NULL: see body_schema
	const char *body_schema;   // BODY_JSON that no table describes: its JSON Schema
	const char *body_type;     // BODY_STREAM: the media type
	size_t body_max;           // bytes; 0: 4 MiB
	unsigned status;           // of the good answer
	enum answer_kind answer;
	const struct fields *of; // what it answers, or each item of the list, or each event's data; NULL: any
	const char *answer_type; // ANSWER_BYTES: the media type
	const char *answer_schema; // ANSWER_JSON that no table describes: its JSON Schema
	unsigned flags;
	const struct route_query *queries; // ended by a NULL name; NULL: none
	const char *summary;
	void (*run)(struct request *rq);
};

extern const struct route routes[];
extern const size_t n_routes;

// The place of a parameter in the route's pattern, from 0; -1 when it has none of that name.
int route_param_index(const struct route *route, const char *name);

// Finds the row for a method and an undecoded path; fills params (heap, decoded). HEAD finds the row of GET. Otherwise
// returns -ENOENT: no such path; -ENOTSUP: not with this method, the allowed ones are written to allow ("GET, HEAD,
// PUT"); -EINVAL: a bad escape.
int route_find(const char *method, const char *path, const struct route **ret, char *params[REQUEST_PARAMS],
	       char *allow, size_t allow_size);
