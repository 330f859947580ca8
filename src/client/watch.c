// A stream of events that is opened again for ever.
#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "client/link.h"

#include <errno.h>

enum { PAUSE_FIRST_MS = 50, PAUSE_MAX_MS = 2000, SILENCE_MS = 45000 };

struct client_watch {
	struct client_link *link; // a follower's: the present server's; NULL before the first
	struct client_servers *servers; // NULL: stays at its link
	struct list follower;           // on the servers' list
	char *leader;                   // address to go to next, as the last answer said; NULL: none was named
	struct client_watch_spec spec;
	char *path;
	char *last_id;
	struct http_call *call; // NULL: pausing
	struct sse_parser *parser;
	struct client_collect collect;
	struct timer again;
	struct rng rng;
	unsigned pause_ms;
	bool connected;
	char said[256]; // the reason last told to on_state
	bool busy, stopped; // inside a callback; stop was asked for there
};

static void watch_open(struct client_watch *watch);

static void watch_free(struct client_watch *watch)
{
	if (watch->call)
		http_call_cancel(watch->call);
	timer_clear(&watch->again);
	list_remove(&watch->follower);
	free(watch->leader);
	sse_parser_free(watch->parser);
	client_collect_clear(&watch->collect);
	free(watch->path);
	free(watch->last_id);
	free(watch);
}

// A callback of the owner's, around which the watch may be stopped; false: it was, and is gone.
#define WATCH_TELL(watch, statement)            \
	({                                      \
		(watch)->busy = true;           \
		statement;                      \
		(watch)->busy = false;          \
		bool there_ = !(watch)->stopped; \
		if (!there_)                    \
			watch_free(watch);      \
		there_;                         \
	})

static bool tell_connected(struct client_watch *watch)
{
	watch->connected = true;
	watch->said[0] = '\0';
	if (!watch->spec.on_state)
		return true;
	return WATCH_TELL(watch, watch->spec.on_state(true, NULL, watch->spec.arg));
}

static bool tell_lost(struct client_watch *watch, const struct err *err)
{
	bool news = watch->connected || strncmp(watch->said, err->text, sizeof(watch->said) - 1) != 0;
	watch->connected = false;
	snprintf(watch->said, sizeof(watch->said), "%.*s", (int)sizeof(watch->said) - 1, err->text);
	if (!watch->spec.on_state || !news)
		return true;
	return WATCH_TELL(watch, watch->spec.on_state(false, err, watch->spec.arg));
}

static void close_call(struct client_watch *watch)
{
	if (watch->call)
		http_call_cancel(watch->call);
	watch->call = NULL;
	sse_parser_free(watch->parser);
	watch->parser = NULL;
	client_collect_clear(&watch->collect);
}

// Half of the pause is fixed, half is chance, so that many watchers do not return in step.
static void open_later(struct client_watch *watch)
{
	close_call(watch);
	timer_set(&watch->again, watch->pause_ms / 2 + rng_below(&watch->rng, watch->pause_ms / 2 + 1));
	watch->pause_ms = watch->pause_ms < PAUSE_MAX_MS / 2 ? watch->pause_ms * 2 : PAUSE_MAX_MS;
}

static void on_event(const struct sse_event *event, void *arg)
{
	struct client_watch *watch = arg;
	if (watch->stopped)
		return;
	watch->pause_ms = PAUSE_FIRST_MS;
	free(watch->last_id);
	watch->last_id = xstrdup(event->id);
	watch->spec.on_event(event, watch->spec.arg);
}

static void on_head(struct http_call *call, const struct http_response *response)
{
	struct client_watch *watch = http_call_arg(call);
	client_collect_head(&watch->collect, response);
	if (response->status < 400)
		tell_connected(watch);
}

static void on_data(struct http_call *call, const char *bytes, size_t n)
{
	struct client_watch *watch = http_call_arg(call);
	if (watch->collect.status >= 400) {
		client_collect_data(&watch->collect, bytes, n);
		return;
	}
	int r = 0;
	if (!WATCH_TELL(watch, r = sse_parse(watch->parser, bytes, n)) || r == 0)
		return;
	struct err err = { 0 };
	err_set(&err, r, "an event of %s is too large", watch->path);
	free(TAKE_PTR(watch->last_id));
	close_call(watch);
	if (tell_lost(watch, &err))
		open_later(watch);
}

static void note_leader(struct client_watch *watch, const json_t *problem)
{
	const char *api = json_string_value(json_object_get(json_object_get(problem, "leader"), "api"));
	free(watch->leader);
	watch->leader = str_empty(api) ? NULL : xstrdup(api);
}

static void on_end(struct http_call *call, const struct err *lost)
{
	struct client_watch *watch = http_call_arg(call);
	watch->call = NULL;
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct err err = { 0 };
	int r = client_collect_finish(&watch->collect, &watch->link->wire, lost, &answer, &err);
	if (r == 0)
		err_set(&err, -EPIPE, "%s ended the stream %s", watch->link->wire.text, watch->path);
	if (answer.status == 410)
		free(TAKE_PTR(watch->last_id));
	if (answer.status == 421)
		note_leader(watch, answer.json);
	if (tell_lost(watch, &err))
		open_later(watch);
}

static void watch_open(struct client_watch *watch)
{
	close_call(watch);
	if (watch->servers) {
		AUTO_FREE char *leader = TAKE_PTR(watch->leader);
		watch->link = client_servers_pick(watch->servers, watch->link, leader);
	}
	struct client_headers headers;
	client_headers_init(&headers, &watch->link->wire, "text/event-stream");
	client_headers_add(&headers, "Last-Event-ID", str_empty(watch->last_id) ? NULL : watch->last_id);
	watch->parser = sse_parser_new(watch->spec.max_event, on_event, watch);
	struct http_call_spec spec = {
		.method = "GET",
		.target = watch->path,
		.host = watch->link->wire.host,
		.headers = headers.items,
		.n_headers = headers.n,
		.idle_timeout_ms = SILENCE_MS,
		.on_head = on_head,
		.on_data = on_data,
		.on_end = on_end,
		.arg = watch,
	};
	watch->call = http_client_call(watch->link->http, &spec);
}

static void open_again(struct timer *timer)
{
	watch_open(CONTAINER_OF(timer, struct client_watch, again));
}

static struct client_watch *watch_new(struct loop *loop, const struct client_watch_spec *spec)
{
	struct client_watch *watch = xcalloc(1, sizeof(*watch));
	*watch = (struct client_watch){
		.spec = *spec,
		.path = xstrdup(spec->path),
		.collect = CLIENT_COLLECT_INIT,
		.rng = { monotonic_ns() ^ (uintptr_t)watch },
		.pause_ms = PAUSE_FIRST_MS,
	};
	if (!watch->spec.max_event)
		watch->spec.max_event = CLIENT_ANSWER_MAX;
	timer_init(&watch->again, loop, open_again);
	list_init(&watch->follower);
	return watch;
}

struct client_watch *client_watch_start(struct client_link *link, const struct client_watch_spec *spec)
{
	struct client_watch *watch = watch_new(link->loop, spec);
	watch->link = link;
	watch_open(watch);
	return watch;
}

struct client_watch *client_watch_follow(struct client_servers *servers, struct loop *loop, struct list *followers,
					 const struct client_watch_spec *spec)
{
	struct client_watch *watch = watch_new(loop, spec);
	watch->servers = servers;
	list_append(followers, &watch->follower);
	watch_open(watch);
	return watch;
}

struct client_watch *client_watch_of(struct list *follower)
{
	return CONTAINER_OF(follower, struct client_watch, follower);
}

void client_watch_move(struct client_watch *watch, struct client_link *to)
{
	if (watch->link == to && (watch->connected || watch->call))
		return;
	close_call(watch);
	watch->connected = false;
	free(watch->leader);
	watch->leader = xstrdup(to->wire.text);
	watch->pause_ms = PAUSE_FIRST_MS;
	timer_set(&watch->again, 0);
}

void client_watch_leave(struct client_watch *watch, const struct client_link *link)
{
	if (watch->link != link)
		return;
	close_call(watch);
	watch->connected = false;
	watch->link = NULL;
	timer_set(&watch->again, 0);
}

struct client_link *client_watch_link(const struct client_watch *watch)
{
	return watch->link;
}

void client_watch_stop(struct client_watch *watch)
{
	if (!watch)
		return;
	if (watch->busy)
		watch->stopped = true;
	else
		watch_free(watch);
}
