#include "main/store_target.h"

#include "base/str.h"
#include "io/file.h"

#include <errno.h>

void target_clear(struct target *t)
{
	store_close(t->store);
	loop_free(t->loop);
	free(t->url);
	free(t->dir);
	free(t->ca);
	free(t->cert);
	free(t->key);
	*t = (struct target){ 0 };
}

char *target_data(struct cli *cli)
{
	const char *data = cli_get(cli, "data");
	AUTO_CLIENT_CONFIG struct client_config config = { 0 };
	if (!data && client_config_load(cli_get(cli, "api"), &config, NULL) == 0)
		data = config.data;
	return xstrdup(data ? data : PLATFORM_DATA_DEFAULT);
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static void take_url(struct target *t, const char *url, const char *ca, const char *cert, const char *key)
{
	t->url = xstrdup(url);
	t->ca = copy(ca);
	t->cert = copy(cert);
	t->key = copy(key);
	t->etcd = (struct store_etcd_options){ .ca = t->ca, .cert = t->cert, .key = t->key };
}

// What the platform with that data directory keeps its state in.
static int of_platform(const char *data, struct target *t, struct err *err)
{
	AUTO_PLATFORM struct platform platform = { 0 };
	int r = platform_load(data, &platform, err);
	if (r < 0)
		return r;
	if (platform.store)
		take_url(t, platform.store, platform.store_ca, platform.store_cert, platform.store_key);
	else
		t->dir = xasprintf("%s/store", platform.data);
	return 0;
}

static bool is_there(const char *dir, const char *file)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, file);
	return file_exists(path) == 1;
}

int target_find(struct cli *cli, const char *word, struct target *ret, struct err *err)
{
	struct target t = { .loop = loop_new() };
	AUTO_FREE char *data = word ? NULL : target_data(cli);
	int r = 0;
	if (!word)
		word = cli_get(cli, "store");
	if (word && str_starts(word, "etcd://"))
		take_url(&t, word, cli_get(cli, "store-ca"), cli_get(cli, "store-cert"), cli_get(cli, "store-key"));
	else if (word && strstr(word, "://"))
		r = err_set(err, -EINVAL, "'%s' is no store: name it as etcd://ADDR:PORT,… or by its directory", word);
	else if (word && !is_there(word, "platform.json"))
		t.dir = xstrdup(word);
	else
		r = of_platform(word ? word : data, &t, err);
	if (r < 0) {
		target_clear(&t);
		return r;
	}
	*ret = t;
	return 0;
}

static void failed(void *arg, const struct err *err)
{
	(void)arg;
	fprintf(stderr, "error: %s\n", err->text);
	_exit(CLI_FAILED);
}

int target_open(struct target *t, struct err *err)
{
	struct store_owner owner = { .fatal = failed };
	if (t->url)
		return store_open_etcd(t->loop, t->url, &t->etcd, owner, &t->store, err);
	if (!is_there(t->dir, "store.db"))
		return err_set(err, -ENOENT, "there is no store in '%s'", t->dir);
	int r = store_open_sqlite(t->loop, t->dir, owner, &t->store, err);
	if (r == -EBUSY)
		err_hint(err,
			 "'dialtone down' stops the platform; 'status' and 'backup' without --data and --store ask it "
			 "instead");
	return r;
}

int target_restore(struct target *t, const struct backup *backup, bool replace, struct err *err)
{
	// Releases, events and so on belong to the app of their name that was made before them.
	const struct restore_options options = { .replace = replace, .orders = "v1/apps/" };
	if (t->url)
		return store_restore_etcd(t->loop, t->url, &t->etcd, backup, &options, err);
	int r = store_restore_sqlite(t->dir, backup, &options, err);
	if (r == -EBUSY)
		err_hint(err, "'dialtone down' stops the platform that uses it; then restore again");
	return r;
}

const char *target_text(const struct target *t)
{
	return t->url ? t->url : t->dir;
}

bool target_same(const struct target *a, const struct target *b)
{
	return str_eq(target_text(a), target_text(b));
}

struct turn {
	struct timer timer;
	const bool *done;
};

static void look(struct timer *timer)
{
	struct turn *turn = CONTAINER_OF(timer, struct turn, timer);
	if (*turn->done)
		loop_stop(timer->loop);
	else
		timer_set(timer, 5);
}

void target_run(struct target *t, const bool *done)
{
	struct turn turn = { .done = done };
	timer_init(&turn.timer, t->loop, look);
	timer_set(&turn.timer, 0);
	loop_run(t->loop);
	timer_clear(&turn.timer);
}
