// The logs of an app as one stream of events, over all its instances on this node, past ones included.
#include "agent/endpoint.h"
#include "agent/text.h"
#include "base/str.h"
#include "http/sse.h"
#include "model/json.h"
#include "telemetry/logs.h"

#include <errno.h>

enum { PING_MS = 15000, EVENT_MAX = 4 << 20, ID_MAX = 4096 };

// Whose lines: lives as long as the answer, since items of a finished source may still come.
struct log_source {
	struct list link;
	char *id, *process;
	uint32_t index;
};

// A place in the merged stream: the n-th item (from 1) of those with this time. It is each event's id, with the places at
// which lines have begun of which there was no end yet, so that a reader whose connection broke goes on exactly behind
// what it has seen: TIME.N, and for each such stream ~INSTANCE.o|e.SEGMENT.RECORD.OFFSET.
struct log_place {
	uint64_t time_ns, n;
};

struct log_answer {
	struct list link; // agent->log_answers
	struct agent *agent;
	struct http_exchange *x;
	char *app_uid, *process; // process NULL: all
	bool follow, full, ended;
	struct log_reader *reader;
	struct list sources;
	struct timer ping;
	struct buf out;
	struct log_place after; // what the reader has seen; time_ns 0: nothing
	struct log_place at;	// of the last item
	char *unfinished;	// behind `after`: "~INSTANCE.o.…" or NULL
};

static void answer_free(struct log_answer *answer)
{
	list_remove(&answer->link);
	if (answer->reader && answer->follow)
		log_reader_unwatch(answer->reader);
	log_reader_free(answer->reader);
	struct log_source *source;
	LIST_EACH(source, &answer->sources, link) {
		list_remove(&source->link);
		free(source->id);
		free(source->process);
		free(source);
	}
	timer_clear(&answer->ping);
	buf_clear(&answer->out);
	free(answer->app_uid);
	free(answer->process);
	free(answer->unfinished);
	free(answer);
}

static bool is_later(const struct log_place *a, const struct log_place *b)
{
	return a->time_ns > b->time_ns || (a->time_ns == b->time_ns && a->n > b->n);
}

static void add_unfinished(void *arg_source, enum log_stream stream, const struct log_position *at, void *arg)
{
	const struct log_source *source = arg_source;
	buf_addf(arg, "~%s.%c.%u.%u.%u", source->id, stream == LOG_ERR ? 'e' : 'o', at->segment, at->record, at->offset);
}

static void write_id(const struct log_answer *answer, struct buf *id)
{
	const struct log_place *place = is_later(&answer->at, &answer->after) ? &answer->at : &answer->after;
	if (!place->n)
		return;
	buf_addf(id, "%llu.%llu", (unsigned long long)place->time_ns, (unsigned long long)place->n);
	if (answer->follow)
		log_reader_unfinished(answer->reader, add_unfinished, id);
}

static void put_event(struct log_answer *answer, const char *event, json_t *json)
{
	AUTO_FREE char *text = json_dumps(json, JSON_COMPACT);
	AUTO_BUF struct buf id_text = BUF_INIT(ID_MAX);
	write_id(answer, &id_text);
	const char *id = buf_len(&id_text) ? buf_str(&id_text) : NULL;
	json_decref(json);
	buf_reset(&answer->out);
	if (text && sse_write(&answer->out, event, id, text, strlen(text)) == 0)
		answer->full = http_respond_write(answer->x, buf_data(&answer->out), buf_len(&answer->out)) > HTTP_HIGH_WATER;
}

static void put_line(struct log_answer *answer, const struct log_item *item)
{
	const struct log_source *source = item->source;
	AUTO_FREE char *text = text_clean(item->text, item->len);
	json_t *json = json_pack("{s:I, s:s, s:I, s:s, s:s, s:s}", "at_ms", (json_int_t)(item->time_ns / 1000000), "process",
				 source->process, "index", (json_int_t)source->index, "instance", source->id, "stream",
				 item->stream == LOG_ERR ? "err" : "out", "text", text);
	if (item->continued)
		json_object_set_new(json, "continued", json_true());
	put_event(answer, "log", json);
}

static void put_gap(struct log_answer *answer, const struct log_item *item)
{
	const struct log_source *source = item->source;
	put_event(answer, "gap",
		  json_pack("{s:I, s:s, s:I, s:s, s:I, s:I}", "at_ms", (json_int_t)(item->time_ns / 1000000), "process",
			    source->process, "index", (json_int_t)source->index, "instance", source->id, "bytes",
			    (json_int_t)item->lost_bytes, "lines", (json_int_t)item->lost_lines));
}

static void put_end(struct log_answer *answer, const struct err *err)
{
	answer->ended = true;
	put_event(answer, "end", err ? json_pack("{s:s}", "error", err->text) : json_object());
	http_respond_end(answer->x);
}

// Moves on to the item; false when the reader has seen it.
static bool move_to(struct log_answer *answer, const struct log_item *item)
{
	if (item->time_ns == answer->at.time_ns)
		answer->at.n++;
	else if (item->time_ns > answer->at.time_ns)
		answer->at = (struct log_place){ item->time_ns, 1 };
	return item->moved || is_later(&(struct log_place){ item->time_ns, answer->at.n }, &answer->after);
}

static void put_item(struct log_answer *answer, const struct log_item *item)
{
	if (!move_to(answer, item))
		return;
	if (item->kind == LOG_GAP)
		put_gap(answer, item);
	else
		put_line(answer, item);
}

// As much as the reader has and the other end takes.
static void more(void *arg)
{
	struct log_answer *answer = arg;
	struct err err = { 0 };
	while (!answer->full && !answer->ended) {
		struct log_item item;
		int r = log_reader_next(answer->reader, &item, &err);
		if (r < 0)
			put_end(answer, &err);
		else if (r == 0 && answer->follow)
			return;
		else if (r == 0)
			put_end(answer, NULL);
		else
			put_item(answer, &item);
	}
}

static void drained(struct http_exchange *x)
{
	struct log_answer *answer = http_exchange_arg(x);
	answer->full = false;
	if (!answer->ended)
		more(answer);
}

static void ping(struct timer *timer)
{
	struct log_answer *answer = CONTAINER_OF(timer, struct log_answer, ping);
	if (!answer->full)
		http_respond_write(answer->x, ":\n\n", 3);
	timer_set(timer, PING_MS);
}

static void x_gone(struct http_exchange *x, bool complete UNUSED)
{
	answer_free(http_exchange_arg(x));
}

static bool wants(const struct log_answer *answer, const char *app_uid, const char *process)
{
	return str_eq(answer->app_uid, app_uid) && (!answer->process || str_eq(answer->process, process));
}

// Has the source's streams go on with the lines that the reader has seen the beginning of.
static void move_source(struct log_answer *answer, struct log_source *source)
{
	size_t n = strlen(source->id);
	for (const char *at = answer->unfinished; at; at = strchr(at + 1, '~')) {
		struct log_position to;
		char stream;
		if (strncmp(at + 1, source->id, n) == 0 &&
		    sscanf(at + 1 + n, ".%c.%u.%u.%u", &stream, &to.segment, &to.record, &to.offset) == 4)
			log_reader_move(answer->reader, source, stream == 'e' ? LOG_ERR : LOG_OUT, &to);
	}
}

static void add_source(struct log_answer *answer, const char *id, const char *process, uint32_t index)
{
	struct log_source *source = xcalloc(1, sizeof(*source));
	*source = (struct log_source){ .id = xstrdup(id), .process = xstrdup(process), .index = index };
	list_append(&answer->sources, &source->link);
	AUTO_FREE char *dir = agent_log_dir(answer->agent, id);
	log_reader_add(answer->reader, dir, source);
	move_source(answer, source);
}

static void add_all(struct log_answer *answer)
{
	const struct past *past;
	LIST_EACH(past, &answer->agent->history.past, link) {
		if (!wants(answer, past->app_uid, past->process))
			continue;
		add_source(answer, past->id, past->process, past->index);
		struct log_source *last = LIST_ENTRY(answer->sources.prev, struct log_source, link);
		log_reader_finish(answer->reader, last);
	}
	void *entry;
	for (size_t at = 0; map_next(&answer->agent->instances, &at, NULL, &entry);) {
		const struct instance *instance = entry;
		const struct assignment *a = &instance->order->assignment;
		if (wants(answer, a->app_uid, a->process))
			add_source(answer, a->instance, a->process, a->index);
	}
}

static int read_number(struct http_exchange *x, const char *query, const char *name, uint64_t *ret)
{
	AUTO_FREE char *text = http_query_get(query, name);
	if (!text || parse_u64(text, UINT64_MAX, ret) == 0)
		return 0;
	answer_problemf(x, 400, "%s must be a number", name);
	return -EINVAL;
}

static int read_place(struct http_exchange *x, const char *query, struct log_place *ret, char **ret_unfinished)
{
	AUTO_FREE char *text = http_query_get(query, "after");
	char *unfinished = text ? strchr(text, '~') : NULL;
	*ret_unfinished = unfinished ? xstrdup(unfinished) : NULL;
	if (unfinished)
		*unfinished = '\0';
	char *dot = text ? strchr(text, '.') : NULL;
	if (dot)
		*dot = '\0';
	if (!text || (dot && parse_u64(text, INT64_MAX, &ret->time_ns) == 0 && parse_u64(dot + 1, INT64_MAX, &ret->n) == 0))
		return 0;
	answer_problemf(x, 400, "after must be the id of an event");
	return -EINVAL;
}

static bool read_flag(const char *query, const char *name)
{
	AUTO_FREE char *text = http_query_get(query, name);
	return text && !str_eq(text, "0") && !str_eq(text, "false");
}

void endpoint_logs(struct agent *agent, struct http_exchange *x)
{
	const char *query = http_exchange_request(x)->query;
	AUTO_FREE char *app_uid = http_query_get(query, "app_uid");
	struct log_reader_spec spec = { .tail = LOG_TAIL_ALL, .follow = read_flag(query, "follow") };
	if (!app_uid) {
		answer_problemf(x, 400, "app_uid is missing");
		return;
	}
	struct log_place after = { 0 };
	AUTO_FREE char *unfinished = NULL;
	if (read_number(x, query, "since_ms", &spec.since_ms) < 0 || read_number(x, query, "tail", &spec.tail) < 0 ||
	    read_place(x, query, &after, &unfinished) < 0)
		return;
	if (after.time_ns) {
		spec.since_ms = after.time_ns / 1000000;
		spec.tail = LOG_TAIL_ALL;
	}
	struct log_answer *answer = xcalloc(1, sizeof(*answer));
	*answer = (struct log_answer){
		.agent = agent,
		.x = x,
		.app_uid = TAKE_PTR(app_uid),
		.process = http_query_get(query, "process"),
		.follow = spec.follow,
		.reader = log_reader_new(&spec),
		.out = BUF_INIT(EVENT_MAX),
		.after = after,
		.unfinished = TAKE_PTR(unfinished),
	};
	list_init(&answer->sources);
	list_append(&agent->log_answers, &answer->link);
	timer_init(&answer->ping, agent->loop, ping);
	timer_set(&answer->ping, PING_MS);
	http_exchange_set_arg(x, answer);
	http_exchange_on_gone(x, x_gone);
	http_exchange_on_drain(x, drained);
	add_all(answer);
	http_respond_start(x, 200, "text/event-stream");
	if (answer->follow)
		log_reader_watch(answer->reader, agent->loop, more, answer);
	more(answer);
}

void logs_instance_came(struct agent *agent, const struct assignment *a)
{
	struct log_answer *answer;
	LIST_EACH(answer, &agent->log_answers, link) {
		if (answer->follow && wants(answer, a->app_uid, a->process))
			add_source(answer, a->instance, a->process, a->index);
	}
}

void logs_instance_ended(struct agent *agent, const struct assignment *a)
{
	struct log_answer *answer;
	LIST_EACH(answer, &agent->log_answers, link) {
		struct log_source *source;
		LIST_EACH(source, &answer->sources, link) {
			if (answer->follow && str_eq(source->id, a->instance))
				log_reader_finish(answer->reader, source);
		}
	}
}
