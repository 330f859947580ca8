// `store migrate FROM TO`: everything from one store into another, compared afterwards. When FROM is the store of a
// platform that is up, it takes no changes meanwhile and goes on with the other store.
#include "base/clock.h"
#include "base/str.h"
#include "cli/output.h"
#include "main/store.h"
#include "main/store_target.h"
#include "model/json.h"

#include <errno.h>

enum { FREEZE_S = 300, RESTART_MS = 60000 };

struct migration {
	struct cli *cli;
	struct target from, to;
	struct backup backup;
	char *data; // of the platform that uses from and is up; NULL: none
	uint64_t frozen_ms;
};

// ---- of a platform that is up

static int post(struct migration *m, const char *path, json_t *body, struct client_answer *answer, struct err *err)
{
	int r = client_call(m->cli->client, "POST", path, body, answer, err);
	json_decref(body);
	return r;
}

// Whether the platform at --data, or that 'up' started last, keeps its state in from and answers.
static bool is_up(struct migration *m, const char *word)
{
	AUTO_TARGET struct target own = { 0 };
	AUTO_PLATFORM struct platform platform = { 0 };
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct cli *cli = m->cli;
	AUTO_FREE char *file = xasprintf("%s/platform.json", word);
	AUTO_FREE char *data = access(file, R_OK) == 0 ? xstrdup(word) : target_data(cli);
	if (target_find(cli, data, &own, NULL) < 0 || !target_same(&own, &m->from) ||
	    platform_load(data, &platform, NULL) < 0 || client_config_load(cli_get(cli, "api"), &cli->config, NULL) < 0)
		return false;
	cli->client = client_new(cli->config.address, cli->config.token, NULL);
	if (!cli->client || client_call(cli->client, "GET", "/v1/status", NULL, &answer, NULL) < 0 ||
	    !str_eq(get_text(json_object_get(answer.json, "platform"), "id"), platform.id))
		return false;
	m->data = TAKE_PTR(data);
	return true;
}

static int freeze(struct migration *m, uint64_t *ret_revision, struct err *err)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	int r = post(m, "/v1/store/freeze", json_pack("{s:i}", "seconds", FREEZE_S), &answer, err);
	if (r == 0)
		*ret_revision = get_number(answer.json, "revision");
	return r;
}

static int take_from_platform(struct migration *m, struct err *err)
{
	AUTO_FREE char *file = xasprintf("%s/store-move.backup", m->data);
	uint64_t revision, bytes;
	m->frozen_ms = monotonic_ms();
	int r = freeze(m, &revision, err);
	if (r == 0)
		r = store_download(m->cli, file, &m->backup, &bytes, err);
	unlink(file);
	if (r == 0 && m->backup.revision != revision)
		r = err_set(err, -ESTALE, "the platform was changed although it takes no changes: begin again");
	return r;
}

static json_t *choice(const struct migration *m)
{
	const struct target *to = &m->to;
	return json_pack("{s:I, s:s*, s:s*, s:s*, s:s*}", "revision", (json_int_t)m->backup.revision, "store", to->url,
			 "store_ca", to->ca, "store_cert", to->cert, "store_key", to->key);
}

static int wait_for_it(struct migration *m, struct err *err)
{
	const char *driver = m->to.url ? "etcd" : "sqlite";
	for (uint64_t until = monotonic_ms() + RESTART_MS; monotonic_ms() < until; usleep(50000)) {
		AUTO_ANSWER struct client_answer answer = { 0 };
		if (client_call(m->cli->client, "GET", "/v1/status", NULL, &answer, NULL) == 0 &&
		    str_eq(get_text(json_object_get(answer.json, "store"), "driver"), driver))
			return 0;
	}
	err_set(err, -ETIMEDOUT, "the platform was told to go on with '%s' and does not answer yet",
		target_text(&m->to));
	return err_hint(err, "%s/log/server.log says why", m->data);
}

static int go_on_there(struct migration *m, struct err *err)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	store_close(TAKE_PTR(m->to.store)); // the platform's to open
	int r = post(m, "/v1/store/switch", choice(m), &answer, err);
	if (r < 0)
		return r;
	r = wait_for_it(m, err);
	m->frozen_ms = monotonic_ms() - m->frozen_ms;
	return r;
}

// ---- all of it

static int take(struct migration *m, struct err *err)
{
	if (m->data)
		return take_from_platform(m, err);
	int r = target_open(&m->from, err);
	if (r == 0)
		backup_take(m->from.store, "", &m->backup);
	return r;
}

// What was written, opened as a server would.
static int copy(struct migration *m, struct err *err)
{
	int r = take(m, err);
	if (r == 0)
		r = target_restore(&m->to, &m->backup, cli_get(m->cli, "replace"), err);
	if (r == 0)
		r = target_open(&m->to, err);
	return r < 0 ? r : backup_compare(&m->backup, m->to.store, err);
}

static int migrate(struct migration *m, const char *from, const char *to, struct err *err)
{
	int r = target_find(m->cli, from, &m->from, err);
	if (r == 0)
		r = target_find(m->cli, to, &m->to, err);
	if (r == 0 && target_same(&m->from, &m->to))
		r = err_set(err, -EINVAL, "'%s' and '%s' are the same store", from, to);
	if (r < 0)
		return r;
	if (is_up(m, from) && m->to.dir) {
		AUTO_FREE char *own = xasprintf("%s/store", m->data);
		if (!str_eq(own, m->to.dir))
			return err_set(err, -EINVAL,
				       "a platform that is up keeps SQLite in its data directory: "
				       "migrate to '%s'",
				       own);
	}
	r = copy(m, err);
	if (m->data && r < 0)
		post(m, "/v1/store/thaw", json_object(), NULL, NULL);
	return r < 0 || !m->data ? r : go_on_there(m, err);
}

static void say(const struct migration *m)
{
	printf("%s holds the %zu records of %s now, compared one by one\n", target_text(&m->to), m->backup.count,
	       target_text(&m->from));
	if (m->data)
		printf("The platform goes on with it; it took no changes for %.1f s\n", (double)m->frozen_ms / 1000);
}

static void say_json(const struct migration *m)
{
	AUTO_JSON json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:b}", "from", target_text(&m->from), "to",
					   target_text(&m->to), "revision", (json_int_t)m->backup.revision, "records",
					   (json_int_t)m->backup.count, "up", m->data != NULL);
	print_json(json);
}

int store_migrate(struct cli *cli, const char *from, const char *to)
{
	struct err err = { 0 };
	struct migration m = { .cli = cli };
	int status = CLI_OK;
	if (migrate(&m, from, to, &err) < 0)
		status = cli_fail(cli, &err);
	else
		cli->json ? say_json(&m) : say(&m);
	backup_clear(&m.backup);
	target_clear(&m.from);
	target_clear(&m.to);
	free(m.data);
	return status;
}
