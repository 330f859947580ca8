// The members and the connection to each. One is current: all calls go to it until it fails; then the next one is.
#include "base/str.h"
#include "store/etcd/private.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>

#define DEFAULT_PORT "2379"

static int resolve(struct member *m, struct err *err)
{
	if (address_parse(m->name, &m->address, NULL) == 0)
		return 0;
	const char *colon = strrchr(m->name, ':');
	AUTO_FREE char *host = xstrndup(m->name, (size_t)(colon - m->name));
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	int r = getaddrinfo(host, colon + 1, &hints, &list);
	if (r)
		return err_set(err, -EINVAL, "cannot look up '%s': %s", host, gai_strerror(r));
	memcpy(&m->address.sa, list->ai_addr, list->ai_addrlen);
	m->address.len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

static int add_member(struct etcd *e, const char *text, size_t n, struct err *err)
{
	if (!n)
		return err_set(err, -EINVAL, "a member's address is empty");
	e->members = xreallocarray(e->members, e->n_members + 1, sizeof(*e->members));
	struct member *m = &e->members[e->n_members++];
	*m = (struct member){ .etcd = e, .name = xstrndup(text, n) };
	const char *bracket = strrchr(m->name, ']'), *colon = strrchr(m->name, ':');
	if (!colon || (bracket && colon < bracket)) {
		AUTO_FREE char *bare = m->name;
		m->name = xasprintf("%s:" DEFAULT_PORT, bare);
	}
	return resolve(m, err);
}

int etcd_members_parse(struct etcd *e, const char *url, struct err *err)
{
	if (!str_starts(url, "etcd://")) {
		err_set(err, -EINVAL, "'%s' is not the address of an etcd cluster", url);
		return err_hint(err, "write it as etcd://ADDR:PORT,ADDR:PORT,ADDR:PORT");
	}
	for (const char *p = url + strlen("etcd://"), *end; p; p = *end ? end + 1 : NULL) {
		end = p + strcspn(p, ",");
		int r = add_member(e, p, (size_t)(end - p), err);
		if (r < 0)
			return err_wrap(err, "'%s'", url);
	}
	e->current = rng_below(&e->rng, e->n_members); // processes spread
	return 0;
}

void etcd_members_clear(struct etcd *e)
{
	for (size_t i = 0; i < e->n_members; i++) {
		http2_client_free(e->members[i].client);
		free(e->members[i].name);
	}
	free(e->members);
	e->members = NULL;
	e->n_members = 0;
}

static void went_down(void *arg, const struct err *err)
{
	struct member *m = arg;
	struct etcd *e = m->etcd;
	m->drop = true;
	etcd_member_failed(e, (size_t)(m - e->members), false, err->text);
	task_wake(&e->task);
}

static void came_up(void *arg)
{
	struct member *m = arg;
	task_wake(&m->etcd->task);
}

static void connect_member(struct member *m)
{
	struct etcd *e = m->etcd;
	m->drop = false;
	m->client = http2_client_new(e->store.loop, &(struct http2_client_config){
							    .address = m->address,
							    .authority = m->name,
							    .tls = e->tls,
							    .connect_ms = CONNECT_MS,
							    .on_up = came_up,
							    .on_down = went_down,
							    .arg = m,
						    });
}

struct grpc_call *etcd_call(struct etcd *e, const struct grpc_spec *spec)
{
	return etcd_call_on(e, e->current, spec);
}

struct grpc_call *etcd_call_on(struct etcd *e, size_t member, const struct grpc_spec *spec)
{
	struct member *m = &e->members[member];
	if (!m->client && !e->closing)
		connect_member(m);
	if (!m->client)
		return NULL;
	// Not before the peer has shown itself: what waits here has certainly not been applied.
	return m->drop || !http2_client_up(m->client) ? NULL : grpc_call(m->client, spec);
}

void etcd_member_failed(struct etcd *e, size_t member, bool drop, const char *why)
{
	struct member *m = &e->members[member];
	snprintf(e->last_error, sizeof(e->last_error), "%s: %.150s", m->name, why);
	if (drop && m->client && http2_client_silent_ms(m->client) > ATTEMPT_MS / 2)
		m->drop = true;
	if (member == e->current && e->n_members > 1) {
		e->current = (member + 1) % e->n_members;
		e->counts.moved++;
	}
	task_wake(&e->task);
}

void etcd_members_step(struct etcd *e)
{
	for (size_t i = 0; i < e->n_members; i++) {
		struct member *m = &e->members[i];
		if (!m->drop)
			continue;
		http2_client_free(TAKE_PTR(m->client)); // its calls end now, each with a callback
		m->drop = false;
	}
}
