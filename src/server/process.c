// `dialtone server`: the process around struct server.
#include "server/server.h"

#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "server/core.h"
#include "server/openapi.h"
#include "store/etcd.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>

enum { DRAIN_MS = 200 };

struct process_state {
	struct loop *loop;
	struct server *server;
	struct signal term, interrupt;
	struct timer end;
	int status;
};

static void end(struct timer *timer)
{
	loop_stop(CONTAINER_OF(timer, struct process_state, end)->loop);
}

static void begin_end(struct process_state *process)
{
	log_info("stopping");
	server_drain(process->server);
	timer_set(&process->end, DRAIN_MS);
}

static void on_term(struct signal *signal)
{
	begin_end(CONTAINER_OF(signal, struct process_state, term));
}

static void on_interrupt(struct signal *signal)
{
	begin_end(CONTAINER_OF(signal, struct process_state, interrupt));
}

// The store can no longer keep its promises. The next process opens it again and finds what was acknowledged.
static void store_failed(void *arg UNUSED, const struct err *err)
{
	log_error("store failed: %s", err->text);
	_exit(1);
}

static int open_etcd(struct process_state *process, const struct platform *platform, struct store **ret, struct err *err)
{
	struct store_owner owner = { store_failed, process };
	struct store_etcd_options options = { .ca = platform->store_ca,
					      .cert = platform->store_cert,
					      .key = platform->store_key };
	return store_open_etcd(process->loop, platform->store, &options, owner, ret, err);
}

static int open_sqlite(struct process_state *process, const struct platform *platform, struct store **ret,
		       struct err *err)
{
	struct store_owner owner = { store_failed, process };
	AUTO_FREE char *dir = xasprintf("%s/store", platform->data);
	return store_open_sqlite(process->loop, dir, owner, ret, err);
}

static void override(char **member, const char *given)
{
	if (!given)
		return;
	char *copy = xstrdup(given);
	free(*member);
	*member = copy;
}

// What others read in the store must lead them here.
static int check_reachable(const struct platform *platform, struct err *err)
{
	if (!platform->store || !(str_starts(platform->api, "0.0.0.0:") || str_starts(platform->api, "[::]:")))
		return 0;
	err_set(err, -EINVAL, "the API's address %s does not say where other machines reach this server", platform->api);
	return err_hint(err, "name one of this machine's addresses: --api ADDR:PORT");
}

static int listen_on(const char *text, int *ret_fd, struct err *err)
{
	struct address address;
	int r = address_parse(text, &address, err);
	if (r < 0)
		return err_wrap(err, "platform.json: api");
	r = socket_listen(&address, 1024, ret_fd, err);
	return r < 0 ? err_wrap(err, "cannot serve the API") : 0;
}

// On an address that others reach there is TLS. What runs on this machine finds the API also in plain, by the loopback.
static int listen_locally(const struct platform *platform, int *ret_fd, struct err *err)
{
	bool any = str_starts(platform->api, "0.0.0.0:") || str_starts(platform->api, "[::]:") || platform->api[0] == ':';
	if (any || platform_api_is_local(platform))
		return 0;
	AUTO_FREE char *url = platform_api(platform);
	return listen_on(url + strlen("http://"), ret_fd, err);
}

// Routes must be the same whoever decides, so the domain is that of the first server.
static void take_domain(struct platform *platform, const struct store *store)
{
	const struct record *r = store_is_shared(store) ? store_get(store, SERVER_PLATFORM_KEY) : NULL;
	AUTO_JSON json_t *json = NULL;
	if (!r || json_from_bytes(record_value(r), r->value_len, &json, NULL) < 0)
		return;
	const char *domain = json_get_text(json, "domain", platform->domain);
	if (str_eq(domain, platform->domain))
		return;
	log_warn("domain=%s is the platform's, as its first server was given it; %s is not used", domain, platform->domain);
	override(&platform->domain, domain);
}

static int open_all(struct process_state *process, struct platform *platform, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int local_fd = -1;
	int r = check_reachable(platform, err);
	if (r == 0)
		r = listen_on(platform->api, &fd, err);
	if (r == 0)
		r = listen_locally(platform, &local_fd, err);
	if (r < 0)
		return r;
	struct store *store = NULL;
	r = platform->store ? open_etcd(process, platform, &store, err) : open_sqlite(process, platform, &store, err);
	if (r < 0)
		return err_wrap(err, "cannot open the store%s%s", platform->store ? " " : "",
				platform->store ? platform->store : "");
	take_domain(platform, store);
	r = server_new(process->loop, platform, store, platform->store ? "etcd" : "sqlite", &process->server, err);
	if (r < 0) {
		store_close(store);
		return r;
	}
	r = local_fd < 0 ? 0 : server_listen(process->server, TAKE_FD(local_fd), err);
	return r < 0 ? r : server_listen(process->server, TAKE_FD(fd), err);
}

static int run(struct platform *platform)
{
	struct process_state process = { .loop = loop_new() };
	struct err err = {};
	timer_init(&process.end, process.loop, end);
	int r = open_all(&process, platform, &err);
	if (r == 0) {
		signal_start(&process.term, process.loop, SIGTERM, on_term);
		signal_start(&process.interrupt, process.loop, SIGINT, on_interrupt);
		log_info("serving name=%s api=%s revision=%llu", process.server->name, platform->api,
			 (unsigned long long)store_revision(process.server->store));
		loop_run(process.loop);
	} else {
		log_error("%s%s%s", err.text, err.hint[0] ? " hint: " : "", err.hint);
	}
	signal_stop(&process.term);
	signal_stop(&process.interrupt);
	timer_clear(&process.end);
	server_free(process.server);
	loop_free(process.loop);
	return r < 0;
}

// ---- the command line

// Each is a member of struct platform, and goes before what platform.json says.
struct words {
	const char *data, *api, *store, *store_ca, *store_cert, *store_key, *name;
};

static const struct option options[] = {
	{ "data", required_argument, NULL, 'd' },     { "api", required_argument, NULL, 'a' },
	{ "store", required_argument, NULL, 's' },    { "store-ca", required_argument, NULL, 'A' },
	{ "store-cert", required_argument, NULL, 'C' }, { "store-key", required_argument, NULL, 'K' },
	{ "name", required_argument, NULL, 'n' },     { "openapi", no_argument, NULL, 'o' },
	{},
};

static const char **word_of(struct words *words, int option)
{
	switch (option) {
	case 'd':
		return &words->data;
	case 'a':
		return &words->api;
	case 's':
		return &words->store;
	case 'A':
		return &words->store_ca;
	case 'C':
		return &words->store_cert;
	case 'K':
		return &words->store_key;
	case 'n':
		return &words->name;
	default:
		return NULL;
	}
}

// A machine that has a server only: 'up' was never there.
static int make_platform(const struct words *words, struct err *err)
{
	struct platform p = { .domain = (char *)PLATFORM_DOMAIN_DEFAULT,
			      .http = (char *)PLATFORM_HTTP_DEFAULT,
			      .api = (char *)words->api,
			      .cache = (char *)PLATFORM_CACHE_DEFAULT,
			      .subnet = (char *)"100.64.0.0/20",
			      .store = (char *)words->store };
	unsigned char bytes[(PLATFORM_ID_SIZE - 1) / 2];
	random_bytes(bytes, sizeof(bytes));
	hex_write(bytes, sizeof(bytes), p.id);
	AUTO_FREE char *path = xasprintf("%s/platform.json", words->data);
	AUTO_FREE char *text = platform_to_text(&p);
	int r = dir_make(words->data, 0700, err);
	return r < 0 ? r : file_write_durable(path, text, strlen(text), 0600, err);
}

static int load_platform(const struct words *words, struct platform *ret, struct err *err)
{
	int r = platform_load(words->data, ret, err);
	if (r == -ENOENT && words->store && words->api) {
		r = make_platform(words, err);
		if (r == 0)
			r = platform_load(words->data, ret, err);
	}
	if (r < 0)
		return r;
	override(&ret->api, words->api);
	override(&ret->store, words->store);
	override(&ret->store_ca, words->store_ca);
	override(&ret->store_cert, words->store_cert);
	override(&ret->store_key, words->store_key);
	override(&ret->name, words->name);
	if (ret->name && (!str_is_label(ret->name) || strlen(ret->name) > 60))
		return err_set(err, -EINVAL,
			       "the server's name '%.80s' is not one: lower-case letters, digits and '-', up to 60", ret->name);
	return 0;
}

static int print_openapi(void)
{
	AUTO_JSON json_t *document = openapi_document();
	AUTO_FREE char *text = json_to_pretty(document);
	return puts(text) < 0;
}

static int usage(void)
{
	fputs("usage: dialtone server [--data DIR] [--api ADDR:PORT] [--name NAME]\n"
	      "                       [--store etcd://ADDR:PORT,… [--store-ca F] [--store-cert F --store-key F]]\n"
	      "       dialtone server --openapi\n",
	      stderr);
	return 2;
}

int server_main(int argc, char **argv)
{
	struct words words = { .data = PLATFORM_DATA_DEFAULT };
	optind = 2; // behind the program and "server"
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'o')
			return print_openapi();
		const char **word = word_of(&words, c);
		if (!word)
			return usage();
		*word = optarg;
	}
	log_init("server");
	signal(SIGPIPE, SIG_IGN);
	AUTO_PLATFORM struct platform platform = {};
	struct err err = {};
	if (load_platform(&words, &platform, &err) < 0) {
		log_error("%s%s%s", err.text, err.hint[0] ? " hint: " : "", err.hint);
		return 1;
	}
	return run(&platform);
}
