#include "telemetry/logs.h"

#include "base/clock.h"
#include "base/str.h"
#include "telemetry/track.h"

#define HORIZON_NS 20000000u
#define CLOCK_STEP_NS 1000000000u // an item further in the future means that the clock was set back, and is not held
#define LOOK_MS 100
#define TAIL_LINE_MAX 4096u

struct log_reader {
	struct log_reader_spec spec;
	struct list tracks;
	bool begun;    // positions are set
	uint64_t skip; // lines to drop, so that no more than `tail` of the old ones are given
	bool in_pass;
	uint64_t horizon_ns; // of this pass
	struct timer look;
	void (*more)(void *arg);
	void *arg;
};

struct log_reader *log_reader_new(const struct log_reader_spec *spec)
{
	struct log_reader *r = xcalloc(1, sizeof(*r));
	r->spec = *spec;
	list_init(&r->tracks);
	return r;
}

void log_reader_free(struct log_reader *reader)
{
	if (!reader)
		return;
	log_reader_unwatch(reader);
	struct track *t;
	LIST_EACH(t, &reader->tracks, link)
		track_free(t);
	free(reader);
}

void log_reader_add(struct log_reader *reader, const char *dir, void *source)
{
	for (enum log_stream stream = LOG_OUT; stream <= LOG_ERR; stream++) {
		struct track *t = track_new(dir, stream, source);
		t->finished = !reader->spec.follow;
		list_append(&reader->tracks, &t->link);
		if (reader->begun)
			track_seek(t, reader->spec.since_ms * 1000000, NULL);
	}
}

void log_reader_unfinished(const struct log_reader *reader,
			   void (*tell)(void *source, enum log_stream stream, const struct log_position *at, void *arg),
			   void *arg)
{
	struct track *t;
	LIST_EACH(t, &reader->tracks, link) {
		if (!t->begun && !t->part_given)
			continue;
		struct log_position here = { t->number, t->record, t->at };
		tell(t->source, t->stream, t->begun || t->has_item ? &t->line_at : &here, arg);
	}
}

void log_reader_move(struct log_reader *reader, void *source, enum log_stream stream, const struct log_position *to)
{
	struct track *t;
	LIST_EACH(t, &reader->tracks, link) {
		if (t->source != source || t->stream != stream)
			continue;
		t->moved = true;
		t->move_to = *to;
		if (reader->begun)
			track_move(t, NULL);
	}
}

void log_reader_finish(struct log_reader *reader, void *source)
{
	struct track *t;
	LIST_EACH(t, &reader->tracks, link)
		if (t->source == source) {
			t->finished = true;
			t->dry = false; // to be looked at once more
		}
}

static int begin(struct log_reader *r, struct err *err)
{
	uint64_t lines = 0;
	struct track *t;
	LIST_EACH(t, &r->tracks, link) {
		uint64_t found = 0;
		int e = t->moved ? track_move(t, err) : track_seek(t, r->spec.since_ms * 1000000, err);
		if (!r->spec.follow)
			track_limit(t);
		if (e == 0 && !t->moved && r->spec.tail != LOG_TAIL_ALL)
			e = track_seek_tail(t, r->spec.tail, &found, err);
		if (e < 0)
			return e;
		lines += found;
	}
	r->skip = r->spec.tail != LOG_TAIL_ALL && lines > r->spec.tail ? lines - r->spec.tail : 0;
	r->begun = true;
	return 0;
}

// A pass looks at each track until that is dry; what comes behind the horizon belongs to the next pass.
static void begin_pass(struct log_reader *r)
{
	r->in_pass = true;
	r->horizon_ns = r->spec.follow ? realtime_ns() - HORIZON_NS : UINT64_MAX;
	struct track *t;
	LIST_EACH(t, &r->tracks, link)
		t->dry = false;
}

// The track with the earliest item, or NULL; drops tracks that ended.
static int earliest(struct log_reader *r, struct track **ret, struct err *err)
{
	struct track *t, *best = NULL;
	LIST_EACH(t, &r->tracks, link) {
		if (!t->has_item && !t->dry) {
			int e = track_fill(t, err);
			if (e < 0)
				return e;
		}
		if (!t->has_item && t->finished && r->spec.follow)
			track_free(t);
		else if (t->has_item && (!best || t->item.time_ns < best->item.time_ns))
			best = t;
	}
	*ret = best;
	return 0;
}

static bool is_held(const struct log_reader *r, const struct log_item *item)
{
	return item->time_ns > r->horizon_ns && item->time_ns - r->horizon_ns < CLOCK_STEP_NS;
}

static bool is_skipped(struct log_reader *r, const struct log_item *item)
{
	if (r->skip == 0)
		return false;
	if (item->kind == LOG_LINE && !item->continued)
		r->skip--;
	return true;
}

int log_reader_next(struct log_reader *reader, struct log_item *ret, struct err *err)
{
	int r = reader->begun ? 0 : begin(reader, err);
	if (r < 0)
		return r;
	if (!reader->in_pass)
		begin_pass(reader);
	for (;;) {
		struct track *t;
		r = earliest(reader, &t, err);
		if (r < 0)
			return r;
		if (!t || is_held(reader, &t->item)) {
			reader->in_pass = false;
			return 0;
		}
		t->has_item = false;
		t->part_given = t->item.continued;
		if (is_skipped(reader, &t->item))
			continue;
		*ret = t->item;
		ret->moved = t->moved;
		return 1;
	}
}

static void look(struct timer *timer)
{
	struct log_reader *r = CONTAINER_OF(timer, struct log_reader, look);
	timer_set(timer, LOOK_MS);
	r->more(r->arg); // may free the reader
}

void log_reader_watch(struct log_reader *reader, struct loop *loop, void (*more)(void *arg), void *arg)
{
	reader->more = more;
	reader->arg = arg;
	timer_init(&reader->look, loop, look);
	timer_set(&reader->look, 0);
}

void log_reader_unwatch(struct log_reader *reader)
{
	timer_clear(&reader->look);
}

static int add_tail(struct buf *out, const struct log_item *item)
{
	if (item->kind == LOG_GAP)
		return buf_addf(out, "[%llu bytes of output were dropped here]\n",
				(unsigned long long)item->lost_bytes);
	bool cut = item->len > TAIL_LINE_MAX;
	int r = buf_add(out, item->text, cut ? TAIL_LINE_MAX : item->len);
	if (r == 0)
		r = buf_add_str(out, cut ? " …\n" : "\n");
	return r;
}

int logs_tail(const char *dir, unsigned n, struct buf *out, struct err *err)
{
	struct log_reader *reader = log_reader_new(&(struct log_reader_spec){ .tail = n });
	log_reader_add(reader, dir, NULL);
	struct log_item item;
	int r;
	while ((r = log_reader_next(reader, &item, err)) == 1)
		if (add_tail(out, &item) < 0)
			break; // no more room: the earlier lines will do
	log_reader_free(reader);
	return r < 0 ? r : 0;
}
