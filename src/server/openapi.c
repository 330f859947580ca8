#include "server/openapi.h"

#include "base/str.h"
#include "server/route.h"
#include "server/views.h"

#include <ctype.h>

static json_t *reference(const char *name)
{
	AUTO_FREE char *path = xasprintf("#/components/schemas/%s", name);
	return json_pack("{s:s}", "$ref", path);
}

// A schema by reference, itself and what is below it put into schemas.
static json_t *schema_of(const struct fields *fields, json_t *schemas)
{
	if (!fields)
		return json_pack("{s:s}", "type", "object");
	json_t *schema = fields_schema(fields, schemas);
	if (json_object_get(schema, "$ref"))
		return schema;
	json_object_set_new(schemas, fields->name, schema);
	return reference(fields->name);
}

static json_t *content(const char *type, json_t *schema)
{
	return json_pack("{s:{s:o}}", type, "schema", schema);
}

static json_t *list_schema(const struct route *route, json_t *schemas)
{
	return json_pack("{s:s, s:[s, s], s:{s:{s:s, s:o}, s:{s:[s, s]}}}", "type", "object", "required", "items",
			 "next", "properties", "items", "type", "array", "items", schema_of(route->of, schemas), "next",
			 "type", "string", "null");
}

static json_t *answer_content(const struct route *route, json_t *schemas)
{
	switch (route->answer) {
	case ANSWER_JSON:
		return content("application/json", route->answer_schema ? json_loads(route->answer_schema, 0, NULL)
									: schema_of(route->of, schemas));
	case ANSWER_LIST:
		return content("application/json", list_schema(route, schemas));
	case ANSWER_EVENTS:
		if (route->of)
			json_decref(schema_of(route->of, schemas));
		return content("text/event-stream", json_pack("{s:s}", "type", "string"));
	case ANSWER_BYTES:
		return content(route->answer_type, json_pack("{s:s}", "type", "string"));
	case ANSWER_NOTHING:
	case ANSWER_UPGRADE:
		break;
	}
	return NULL;
}

static json_t *good_answer(const struct route *route, const char *about, json_t *schemas)
{
	json_t *answer = json_pack("{s:s}", "description", about);
	json_t *body = answer_content(route, schemas);
	if (body)
		json_object_set_new(answer, "content", body);
	if (route->flags & ROUTE_ETAG)
		json_object_set_new(answer, "headers",
				    json_pack("{s:{s:s, s:{s:s}}}", "ETag", "description", "the revision, for If-Match",
					      "schema", "type", "string"));
	return answer;
}

static json_t *responses(const struct route *route, json_t *schemas)
{
	char status[8];
	snprintf(status, sizeof(status), "%u", route->status);
	json_t *all = json_pack("{s:o, s:{s:s}}", status, good_answer(route, http_status_text(route->status), schemas),
				"default", "$ref", "#/components/responses/Problem");
	if (route->flags & ROUTE_MAY_KEEP)
		json_object_set_new(all, "200", good_answer(route, "Nothing differs; nothing was changed", schemas));
	return all;
}

static json_t *parameter(const char *name, const char *in, bool required, const char *type, const char *about)
{
	json_t *json = json_pack("{s:s, s:s, s:b, s:{s:s}}", "name", name, "in", in, "required", required, "schema",
				 "type", type);
	if (about)
		json_object_set_new(json, "description", json_string(about));
	return json;
}

static void add_path_parameters(const struct route *route, json_t *parameters)
{
	for (const char *at = strchr(route->path, '{'); at; at = strchr(at, '{')) {
		const char *end = strchr(++at, '}');
		AUTO_FREE char *name = xstrndup(at, (size_t)(end - at));
		json_array_append_new(parameters, parameter(name, "path", true, "string", NULL));
	}
}

static json_t *parameters_of(const struct route *route)
{
	json_t *parameters = json_array();
	add_path_parameters(route, parameters);
	for (const struct route_query *query = route->queries; query && query->name; query++)
		json_array_append_new(parameters, parameter(query->name, "query", false, query->type, query->about));
	if (route->flags & ROUTE_IF_MATCH)
		json_array_append_new(parameters, parameter("If-Match", "header", false, "string",
							    "an ETag; 412 if it is no longer that"));
	if (route->flags & ROUTE_RESUMES)
		json_array_append_new(parameters, parameter("Last-Event-ID", "header", false, "string",
							    "goes on behind the event of this id"));
	return parameters;
}

static json_t *request_body(const struct route *route, json_t *schemas)
{
	if (route->body_kind == BODY_NONE)
		return NULL;
	if (route->body_kind == BODY_STREAM)
		return json_pack("{s:b, s:o}", "required", 1, "content",
				 content(route->body_type, json_pack("{s:s}", "type", "string")));
	json_t *schema = route->body_schema ? json_loads(route->body_schema, 0, NULL) : schema_of(route->body, schemas);
	return json_pack("{s:o}", "content", content("application/json", schema));
}

// "GET /v1/tenants/{tenant}/apps" becomes "get_tenants_tenant_apps".
static char *operation_id(const struct route *route)
{
	AUTO_BUF struct buf id = BUF_INIT(512);
	for (const char *c = route->method; *c; c++)
		buf_addf(&id, "%c", tolower((unsigned char)*c));
	const char *path = str_starts(route->path, "/v1") ? route->path + 3 : route->path;
	for (const char *c = path; *c; c++)
		if (*c != '{' && *c != '}')
			buf_addf(&id, "%c", isalnum((unsigned char)*c) ? *c : '_');
	return buf_take(&id);
}

static json_t *operation(const struct route *route, json_t *schemas)
{
	AUTO_FREE char *id = operation_id(route);
	json_t *json = json_pack("{s:s, s:s, s:o, s:o}", "operationId", id, "summary", route->summary, "parameters",
				 parameters_of(route), "responses", responses(route, schemas));
	json_t *body = request_body(route, schemas);
	if (body)
		json_object_set_new(json, "requestBody", body);
	if (route->access == ACCESS_ANYONE)
		json_object_set_new(json, "security", json_array());
	return json;
}

static json_t *problem_schema(void)
{
	return json_pack("{s:s, s:s, s:[s, s, s], s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:s}, s:{s:s, s:s}}}",
			 "description", "RFC 9457", "type", "object", "required", "title", "status", "detail",
			 "properties", "title", "type", "string", "status", "type", "integer", "detail", "type",
			 "string", "hint", "type", "string", "description", "what to do about it", "field", "type",
			 "string", "description", "where in the request it is");
}

static json_t *components(json_t *schemas)
{
	json_object_set_new(schemas, "Problem", problem_schema());
	return json_pack("{s:o, s:{s:{s:s, s:o}}, s:{s:{s:s, s:s}}}", "schemas", schemas, "responses", "Problem",
			 "description", "It could not be done; the body says why", "content",
			 content("application/problem+json", reference("Problem")), "securitySchemes", "token", "type",
			 "http", "scheme", "bearer");
}

json_t *openapi_document(void)
{
	json_t *paths = json_object(), *schemas = json_object();
	for (size_t i = 0; i < n_routes; i++) {
		const struct route *route = &routes[i];
		json_t *path = json_object_get(paths, route->path);
		if (!path) {
			path = json_object();
			json_object_set_new(paths, route->path, path);
		}
		AUTO_FREE char *method = xstrdup(route->method);
		for (char *c = method; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		json_object_set_new(path, method, operation(route, schemas));
	}
	json_t *info =
		json_pack("{s:s, s:s, s:s, s:{s:s, s:s}}", "title", "Dialtone", "version", DIALTONE_VERSION, "summary",
			  "The platform API", "license", "name", "Apache-2.0", "identifier", "Apache-2.0");
	return json_pack("{s:s, s:o, s:[{s:s}], s:o, s:o, s:[{s:[]}]}", "openapi", "3.1.0", "info", info, "servers",
			 "url", "/", "paths", paths, "components", components(schemas), "security", "token");
}

void openapi_get(struct request *rq)
{
	reply_json(rq, 200, openapi_document());
}
