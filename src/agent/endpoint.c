// run/agent.sock: what the server asks of this node on behalf of people.
#include "agent/endpoint.h"

#include "base/str.h"
#include "io/socket.h"
#include "model/json.h"

#include <errno.h>
#include <sys/stat.h>

static json_t *describe(const struct instance *instance)
{
	struct instance_report report;
	instance_report_fill(instance, &report);
	json_t *json = fields_write(&instance_report_fields, &report);
	fields_clear(&instance_report_fields, &report);
	json_object_set_new(json, "life", json_string(instance_life_name(instance)));
	json_object_set_new(json, "app", json_string(instance->order->assignment.app));
	json_object_set_new(json, "app_uid", json_string(instance->order->assignment.app_uid));
	json_object_set_new(json, "process", json_string(instance->order->assignment.process));
	json_object_set_new(json, "index", json_integer(instance->order->assignment.index));
	json_object_set_new(json, "pid", json_integer(instance->running.pid));
	return json;
}

static void list_instances(struct agent *agent, struct http_exchange *x)
{
	json_t *items = json_array();
	void *instance;
	for (size_t at = 0; map_next(&agent->instances, &at, NULL, &instance);)
		json_array_append_new(items, describe(instance));
	answer_json(x, 200, json_pack("{s:o}", "items", items));
}

// "/instances/ID/exec": ID on the heap, or NULL for another path.
static char *exec_path(const char *path)
{
	static const char before[] = "/instances/", after[] = "/exec";
	if (!str_starts(path, before) || !str_ends(path, after) || strlen(path) <= strlen(before) + strlen(after))
		return NULL;
	char *id = xstrndup(path + strlen(before), strlen(path) - strlen(before) - strlen(after));
	if (instance_id_valid(id))
		return id;
	free(id);
	return NULL;
}

static const struct endpoint_row {
	const char *method, *path;
	void (*run)(struct agent *agent, struct http_exchange *x);
} rows[] = {
	{ "GET", "/logs", endpoint_logs },
	{ "GET", "/instances", list_instances },
	{ "POST", "/runs", endpoint_run },
	{ "POST", "/builds", endpoint_build },
};

static void on_request(struct http_exchange *x, void *arg)
{
	struct agent *agent = arg;
	const struct http_request *request = http_exchange_request(x);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_eq(rows[i].method, request->method) && str_eq(rows[i].path, request->path)) {
			rows[i].run(agent, x);
			return;
		}
	}
	AUTO_FREE char *id = exec_path(request->path);
	if (id && str_eq(request->method, "POST"))
		endpoint_exec(agent, x, id);
	else
		answer_problemf(x, 404, "there is no %s %s here", request->method, request->path);
}

int agent_listen(struct agent *agent, struct err *err)
{
	AUTO_FREE char *text = xasprintf("unix:%s/run/agent.sock", agent->platform.data);
	struct address address;
	int fd;
	int r = address_parse(text, &address, err);
	if (r == 0)
		r = socket_listen(&address, 128, &fd, err);
	if (r < 0)
		return err_wrap(err, "the agent's endpoint");
	chmod(text + strlen("unix:"), 0600);
	struct http_server_config config = { .on_request = on_request, .arg = agent };
	agent->endpoint = http_server_new(agent->loop, &config);
	return http_server_listen(agent->endpoint, fd, err);
}
