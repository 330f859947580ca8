// GET and PATCH apps/{app}/env: an app's environment; a change of it makes a new release.
#include "server/env.h"

#include "base/str.h"
#include "server/app_change.h"
#include "server/app_view.h"
#include "server/change.h"
#include "server/command_check.h"
#include "server/core.h"

#include <errno.h>

enum { ENV_MAX = 1000 };

void env_get(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app)
		return;
	json_t *env = json_object();
	for (uint32_t i = 0; i < app->app.spec.env_count; i++)
		json_object_set_new(env, app->app.spec.env[i].name, json_string(app->app.spec.env[i].value));
	reply_json_etag(rq, 200, app->revision, env);
}

static bool remove_env(struct spec *spec, const char *name)
{
	for (uint32_t i = 0; i < spec->env_count; i++) {
		if (!str_eq(spec->env[i].name, name))
			continue;
		free(spec->env[i].name);
		free(spec->env[i].value);
		memmove(&spec->env[i], &spec->env[i + 1], (spec->env_count - i - 1) * sizeof(*spec->env));
		spec->env_count--;
		return true;
	}
	return false;
}

// Keeps the order by name.
static bool set_env(struct spec *spec, const char *name, const char *value)
{
	if (str_eq(pairs_get(spec->env, spec->env_count, name), value))
		return false;
	remove_env(spec, name);
	uint32_t at = 0;
	while (at < spec->env_count && strcmp(spec->env[at].name, name) < 0)
		at++;
	spec->env = xreallocarray(spec->env, spec->env_count + 1, sizeof(*spec->env));
	memmove(&spec->env[at + 1], &spec->env[at], (spec->env_count - at) * sizeof(*spec->env));
	spec->env[at] = (struct pair){ xstrdup(name), xstrdup(value) };
	spec->env_count++;
	return true;
}

// Answers for what is not an environment.
static bool check_patch(struct request *rq)
{
	const char *name;
	json_t *value;
	struct err err = {};
	json_object_foreach(rq->body, name, value)
	{
		const char *fault = json_is_null(value) ? check_env_name(name) : spec_check_env_name(name);
		if (!fault && !json_is_null(value) && !json_is_string(value))
			fault = "must be a text, or null to remove it";
		if (!fault)
			continue;
		err_set(&err, -EINVAL, "%.100s: %s", name, fault);
		reply_problem(rq, 400, name, &err);
		return false;
	}
	return true;
}

// Returns the names changed, for people; NULL: none. Heap.
static char *patch(struct spec *spec, json_t *body)
{
	AUTO_BUF struct buf names = BUF_INIT(128 << 10);
	const char *name;
	json_t *value;
	json_object_foreach(body, name, value)
	{
		bool changed =
			json_is_null(value) ? remove_env(spec, name) : set_env(spec, name, json_string_value(value));
		if (changed && buf_len(&names) < 200)
			buf_addf(&names, "%s%s%.64s", buf_len(&names) ? ", " : "", json_is_null(value) ? "-" : "",
				 name);
	}
	return buf_len(&names) ? buf_take(&names) : NULL;
}

// Values are nobody's business in the audit trail or in events: only names are said.
void env_patch(struct request *rq)
{
	struct app_entry *entry = request_app(rq);
	if (!entry || !check_patch(rq))
		return;
	const struct release *current = replica_release(&rq->server->replica, entry, entry->app.release);
	if (!current) {
		reply_problemf(rq, 409, "push it", "app '%s' has no release yet", entry->app.name);
		return;
	}
	struct release release;
	release_copy(current, &release);
	AUTO_FREE char *names = patch(&release.spec, rq->body);
	struct field_path path = {};
	struct err err = {};
	if (!names) {
		reply_app(rq, 200, entry, false);
	} else if (release.spec.env_count > ENV_MAX) {
		reply_problemf(rq, 400, NULL, "an app has at most %d variables", ENV_MAX);
	} else if (release_check_commands(&release, &path, &err) < 0) {
		reply_problem(rq, 400, path.text, &err);
	} else {
		AUTO_FREE char *reason = xasprintf("env: %.200s", names);
		AUTO_FREE char *message = xasprintf("environment changed by %s: %s", rq->who.name, names);
		app_release_commit(rq, entry, &release, reason, "env", message);
	}
	release_clear(&release);
}
