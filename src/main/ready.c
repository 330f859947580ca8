#include "main/ready.h"

#include "base/clock.h"
#include "base/str.h"
#include "cli/output.h"
#include "client/client.h"
#include "client/config.h"
#include "keeper/state.h"
#include "main/say.h"
#include "main/setup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/wait.h>

#define LOOK_MS 50
#define RESTARTS_MAX 4 // of one part while it is waited for: it does not stay up
#define ABSENT_MS 2000 // of one part: the keeper waits that long only after failures in a row
#define LOG_LINES 12

// What is missing still: the part at fault, and why in err.
static int api_answers(struct client *client, const char **ret_part, struct err *err)
{
	struct client_request request = { .method = "GET", .path = "/readyz", .timeout_ms = 2000 };
	AUTO_ANSWER struct client_answer answer = { 0 };
	*ret_part = "server";
	int r = client_send(client, &request, &answer, err);
	if (r == 0 || !answer.status)
		return r < 0 ? err_wrap(err, "the API") : 0;
	const char *missing = json_string_value(json_array_get(json_object_get(answer.json, "missing"), 0));
	if (missing && strstr(missing, "agent"))
		*ret_part = "agent";
	else if (missing && strstr(missing, "router"))
		*ret_part = "router";
	return r;
}

// Any answer will do: an unknown host is 404.
static int router_answers(const struct platform *platform, const char **ret_part, struct err *err)
{
	AUTO_FREE char *url = setup_local_url(platform->http);
	struct client_request request = { .method = "GET", .path = "/", .timeout_ms = 2000 };
	AUTO_ANSWER struct client_answer answer = { 0 };
	*ret_part = "router";
	struct client *client = client_new(url, NULL, err);
	if (!client)
		return err->code;
	int r = client_send(client, &request, &answer, err);
	client_free(client);
	return answer.status ? 0 : r < 0 ? err_wrap(err, "the router") : 0;
}

static int all_answer(const struct platform *platform, struct client *client, const char **ret_part, struct err *err)
{
	int r = api_answers(client, ret_part, err);
	if (r == 0)
		r = router_answers(platform, ret_part, err);
	return r;
}

// What the keeper has to do to have a part running.
struct effort {
	const char *part;
	unsigned restarts, before; // before: at the first look
	uint64_t absent_since_ms;  // 0: it runs
};

static void look_at(const struct platform *platform, const char *part, struct effort *e)
{
	struct keeper_state state;
	if (e->part != part)
		*e = (struct effort){ .part = part, .before = UINT_MAX };
	if (keeper_state_read(platform->data, &state) < 0)
		return;
	for (unsigned n = 0; n < state.n_parts; n++) {
		if (!str_eq(state.parts[n].name, part))
			continue;
		e->restarts = state.parts[n].restarts;
		if (e->before == UINT_MAX)
			e->before = e->restarts;
		if (state.parts[n].identity.pid)
			e->absent_since_ms = 0;
		else if (!e->absent_since_ms)
			e->absent_since_ms = monotonic_ms();
	}
}

static bool is_hopeless(const struct effort *e)
{
	return (e->before != UINT_MAX && e->restarts > e->before + RESTARTS_MAX) ||
	       (e->absent_since_ms && monotonic_ms() - e->absent_since_ms > ABSENT_MS);
}

static int give_up(const struct platform *platform, const char *part, struct err *err)
{
	say_log(platform->data, part, LOG_LINES);
	return err_hint(err, "the whole log is %s/log/%s.log", platform->data, part);
}

// Whether the process is there; a child that ended is reaped.
static bool is_alive(pid_t pid)
{
	return pid <= 0 || (waitpid(pid, NULL, WNOHANG) != pid && kill(pid, 0) == 0);
}

int ready_wait(const struct platform *platform, pid_t alive, unsigned deadline_ms, struct err *err)
{
	AUTO_FREE char *url = platform_api(platform);
	AUTO_CLIENT_CONFIG struct client_config config = { 0 };
	int r = client_config_load(url, &config, err);
	if (r < 0)
		return r;
	struct client *client = client_new(url, config.token, err);
	if (!client)
		return err->code;
	uint64_t deadline = monotonic_ms() + deadline_ms;
	const char *part = "keeper";
	struct effort effort = { 0 };
	while ((r = all_answer(platform, client, &part, err)) < 0) {
		if (!is_alive(alive)) {
			r = err_set(err, -EIO, "the keeper cannot be started");
			effort.part = "keeper";
			break;
		}
		look_at(platform, part, &effort);
		if (is_hopeless(&effort)) {
			r = err_wrap(err, "the %s does not stay up", part);
			break;
		}
		if (monotonic_ms() > deadline) {
			r = err_wrap(err, "not ready within %u s", deadline_ms / 1000);
			break;
		}
		usleep(LOOK_MS * 1000);
	}
	client_free(client);
	return r < 0 ? give_up(platform, effort.part, err) : 0;
}

int ready_wait_router(const struct platform *platform, pid_t alive, unsigned deadline_ms, struct err *err)
{
	const char *part;
	uint64_t deadline = monotonic_ms() + deadline_ms;
	int r;
	while ((r = router_answers(platform, &part, err)) < 0) {
		if (!is_alive(alive) || monotonic_ms() > deadline)
			return r;
		usleep(LOOK_MS * 1000);
	}
	return 0;
}

static bool listens_on_all(const char *http)
{
	return str_starts(http, "0.0.0.0:") || str_starts(http, "[::]:") || http[0] == ':';
}

// An address under which others reach this machine, if the router listens on all.
static bool outside_address(const char *http, char address[INET_ADDRSTRLEN])
{
	struct ifaddrs *all;
	bool found = false;
	if (!listens_on_all(http) || getifaddrs(&all) < 0)
		return false;
	for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || i->ifa_flags & IFF_LOOPBACK ||
		    !(i->ifa_flags & IFF_UP))
			continue;
		struct sockaddr_in in;
		memcpy(&in, i->ifa_addr, sizeof(in));
		uint32_t host = ntohl(in.sin_addr.s_addr);
		if (host >> 22 == 0x64400000u >> 22) // the bridge of a platform
			continue;
		found = inet_ntop(AF_INET, &in.sin_addr, address, INET_ADDRSTRLEN) != NULL;
	}
	freeifaddrs(all);
	return found;
}

static void print_reach(const struct platform *p)
{
	const char *port = strrchr(p->http, ':');
	char address[INET_ADDRSTRLEN];
	AUTO_FREE char *local = setup_local_url(p->http);
	printf("  apps      http://APP.%s%s", p->domain, port);
	if (str_eq(p->domain, "localhost") || str_ends(p->domain, ".localhost"))
		printf("   in curl and browsers on this machine\n");
	else
		printf("   where *.%s leads to this machine (DNS)\n", p->domain);
	if (outside_address(p->http, address))
		printf("            curl -H 'Host: APP.%s' http://%s%s   from anywhere\n", p->domain, address, port);
	else if (listens_on_all(p->http))
		printf("            curl -H 'Host: APP.%s' %s   here, and from elsewhere by this machine's address\n",
		       p->domain, local);
	else
		printf("            curl -H 'Host: APP.%s' %s   (for other machines: up --http 0.0.0.0%s)\n", p->domain,
		       local, port);
	printf("            'up --domain NAME' makes it http://APP.NAME%s, for a NAME whose DNS record *.NAME is this "
	       "machine\n",
	       port);
}

void ready_print(const struct platform *p)
{
	AUTO_FREE char *api = platform_api(p);
	printf("  API       %s   (the token is in ~/.config/dialtone/config.json)\n", api);
	print_reach(p);
	printf("  data      %s\n  cache     %s\n  logs      %s/log\n", p->data, p->cache, p->data);
	printf("\nDeploy with 'dialtone push DIR'; 'dialtone help' lists the rest.\n");
	fflush(stdout);
}

void ready_print_json(const struct platform *p, bool already)
{
	const char *port = strrchr(p->http, ':');
	AUTO_FREE char *api = platform_api(p);
	AUTO_FREE char *http = setup_local_url(p->http);
	AUTO_FREE char *apps = xasprintf("http://APP.%s%s", p->domain, port);
	json_t *out = json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:s}", "already_up", (int)already, "api", api, "http",
				http, "domain", p->domain, "apps", apps, "data", p->data, "cache", p->cache);
	print_json(out);
	json_decref(out);
	fflush(stdout);
}
