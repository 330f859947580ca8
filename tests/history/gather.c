#include "private.h"

#include "base/str.h"

#include <assert.h>

bool op_puts(const struct op *op)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++)
		if (parts[i].type == ENTRY_PUT)
			return true;
	return false;
}

bool op_changes(const struct op *op)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++)
		if (parts[i].type == ENTRY_PUT || parts[i].type == ENTRY_DELETE)
			return true;
	return false;
}

uint64_t op_answered(const struct op *op)
{
	return op->ret && op->ret->kind == STORE_OK ? op->ret->revision : 0;
}

struct op *gathered_op(const struct gathered *g, uint64_t op)
{
	uint64_t life = LIFE_OF(op), number = op & UINT32_MAX;
	if (life >= g->lives.n || !number || number > g->lives.at[life].n)
		return NULL;
	struct op *o = &g->lives.at[life].ops[number - 1];
	return o->invoke ? o : NULL;
}

// ---- one log

struct reader {
	struct gathered *g;
	const struct log *log;
	size_t open[STREAMS]; // the segment of each, counted from 1
	uint64_t seen;        // highest revision that this process knew of so far
};

// The entries that belong to the one at i: how many. SIZE_MAX: the log ends before they do.
static size_t parts_of(const struct log *log, size_t i)
{
	const struct entry *e = &log->entries[i];
	size_t n = 0;
	if (e->type == ENTRY_INVOKE)
		n = e->key;
	else if (e->type == ENTRY_RETURN)
		n = e->kind == STORE_CONFLICT;
	else if (e->type == ENTRY_LIST || e->type == ENTRY_WATCH)
		n = e->value;
	return n <= log->n - i - 1 ? n : SIZE_MAX;
}

static void add_seen(struct reader *r, const struct entry *e, uint64_t revision)
{
	if (revision <= r->seen)
		return;
	r->seen = revision;
	ARRAY_ADD(&r->g->seen, (struct seen){ e->time_ns, revision });
}

static void add_invoke(struct reader *r, const struct entry *e)
{
	struct gathered *g = r->g;
	uint64_t life = LIFE_OF(e->op), number = e->op & UINT32_MAX;
	assert(life < g->lives.n && number && number <= g->lives.at[life].n);
	g->lives.at[life].ops[number - 1] = (struct op){ .invoke = e };
	g->verdict->operations++;
}

static void add_return(struct reader *r, const struct entry *e)
{
	struct verdict *v = r->g->verdict;
	struct op *op = gathered_op(r->g, e->op);
	assert(op);
	op->ret = e;
	v->ok += e->kind == STORE_OK;
	v->conflicts += e->kind == STORE_CONFLICT;
	v->unknown += e->kind == STORE_UNKNOWN;
	v->fenced += e->kind == STORE_FENCED;
	if (op->invoke->kind == OP_AWAIT)
		return;
	if (e->kind == STORE_OK || e->kind == STORE_CONFLICT || e->kind == STORE_FENCED) {
		add_seen(r, e, e->revision);
		ARRAY_ADD(&r->g->questions, (struct question){ e->revision, e, op });
	} else if (e->kind != STORE_UNKNOWN) {
		v->refused++;
	}
}

static void end_segment(struct reader *r, unsigned stream, size_t at)
{
	if (r->open[stream])
		r->g->segments.at[r->open[stream] - 1].end = at;
	r->open[stream] = 0;
}

static void begin_segment(struct reader *r, const struct entry *e, size_t at)
{
	end_segment(r, e->kind, at);
	ARRAY_ADD(&r->g->segments, (struct segment){ r->log, at, r->log->n, e->revision, e->revision, e->kind });
	r->open[e->kind] = r->g->segments.n;
	if (e->kind == 0)
		ARRAY_ADD(&r->g->questions, (struct question){ e->revision, e, NULL });
}

static void add_event(struct reader *r, const struct entry *e)
{
	ARRAY_ADD(&r->g->events, e);
	add_seen(r, e, e->mod);
	if (e->key & KEY_HELD)
		ARRAY_ADD(&r->g->held, e->key);
	if (!e->deleted && !e->value)
		violate(r->g->verdict, VIOLATION_TORN, "the value of an event at revision %llu",
			(unsigned long long)e->mod);
}

static void take(struct reader *r, size_t at)
{
	const struct entry *e = &r->log->entries[at];
	switch ((enum entry_type)e->type) {
	case ENTRY_INVOKE:
		add_invoke(r, e);
		break;
	case ENTRY_RETURN:
		add_return(r, e);
		break;
	case ENTRY_READ:
	case ENTRY_LIST:
		r->g->verdict->reads++;
		add_seen(r, e, e->revision);
		ARRAY_ADD(&r->g->questions, (struct question){ e->revision, e, NULL });
		break;
	case ENTRY_WATCH:
		add_seen(r, e, e->revision);
		begin_segment(r, e, at);
		break;
	case ENTRY_EVENT:
		add_event(r, e);
		break;
	case ENTRY_PROGRESS:
		add_seen(r, e, e->revision);
		r->g->segments.at[r->open[e->kind] - 1].to = e->revision;
		break;
	default:
		break;
	}
}

static void gather_log(struct gathered *g, const struct log *log)
{
	struct reader r = { .g = g, .log = log };
	for (size_t i = 0, n; i < log->n; i += n + 1) {
		n = parts_of(log, i);
		if (n == SIZE_MAX)
			break; // it died while this was written: nothing came of it
		for (size_t k = 1; k <= n; k++) {
			const struct entry *part = &log->entries[i + k];
			if (part->type == ENTRY_RECORD && part->key & KEY_HELD)
				ARRAY_ADD(&g->held, part->key);
		}
		take(&r, i);
	}
}

// ---- putting in order

static int by_place(const void *a, const void *b)
{
	const struct entry *x = *(const struct entry *const *)a, *y = *(const struct entry *const *)b;
	if (x->mod != y->mod)
		return x->mod < y->mod ? -1 : 1;
	return x->index - y->index;
}

static bool same_event(const struct entry *a, const struct entry *b)
{
	return a->key == b->key && a->deleted == b->deleted && a->revision == b->revision && a->create == b->create &&
	       a->version == b->version && a->value == b->value;
}

static void unite_events(struct gathered *g)
{
	size_t n = 0;
	if (g->events.n)
		qsort(g->events.at, g->events.n, sizeof(g->events.at[0]), by_place);
	for (size_t i = 0; i < g->events.n; i++) {
		const struct entry *e = g->events.at[i], *last = n ? g->events.at[n - 1] : NULL;
		if (!last || by_place(&e, &last) != 0)
			g->events.at[n++] = e;
		else if (!same_event(e, last))
			violate(g->verdict, VIOLATION_DISAGREE, "change %u of revision %llu", e->index,
				(unsigned long long)e->mod);
	}
	g->events.n = n;
	g->verdict->events = n;
}

static int by_time(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

static void order_seen(struct gathered *g)
{
	size_t n = 0;
	if (g->seen.n)
		qsort(g->seen.at, g->seen.n, sizeof(g->seen.at[0]), by_time);
	for (size_t i = 0; i < g->seen.n; i++)
		if (!n || g->seen.at[i].revision > g->seen.at[n - 1].revision)
			g->seen.at[n++] = g->seen.at[i];
	g->seen.n = n;
}

uint64_t seen_before(const struct gathered *g, uint64_t time_ns)
{
	size_t low = 0, high = g->seen.n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (g->seen.at[middle].time_ns < time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? g->seen.at[low - 1].revision : 0;
}

static int by_revision(const void *a, const void *b)
{
	const struct question *x = a, *y = b;
	return x->revision < y->revision ? -1 : x->revision > y->revision;
}

static int by_key(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static int by_from(const void *a, const void *b)
{
	const struct interval *x = a, *y = b;
	return x->from < y->from ? -1 : x->from > y->from;
}

static void unite_intervals(struct gathered *g)
{
	for (size_t i = 0; i < g->segments.n; i++) {
		const struct segment *s = &g->segments.at[i];
		if (s->stream == 0)
			ARRAY_ADD(&g->intervals, (struct interval){ s->from, s->to, &s->log->entries[s->first] });
	}
	if (g->intervals.n)
		qsort(g->intervals.at, g->intervals.n, sizeof(g->intervals.at[0]), by_from);
	size_t n = 0;
	for (size_t i = 0; i < g->intervals.n; i++) {
		struct interval next = g->intervals.at[i], *last = n ? &g->intervals.at[n - 1] : NULL;
		if (!last || next.from > last->to)
			g->intervals.at[n++] = next;
		else if (next.to > last->to)
			last->to = next.to;
	}
	g->intervals.n = n;
}

static int by_answer(const void *a, const void *b)
{
	uint64_t x = op_answered(*(struct op *const *)a), y = op_answered(*(struct op *const *)b);
	return x < y ? -1 : x > y;
}

static void find_deletes(struct gathered *g)
{
	for (size_t l = 0; l < g->lives.n; l++) {
		for (size_t i = 0; i < g->lives.at[l].n; i++) {
			struct op *op = &g->lives.at[l].ops[i];
			g->verdict->unanswered += op->invoke && !op->ret;
			bool refused = op->ret && op->ret->kind != STORE_OK && op->ret->kind != STORE_UNKNOWN;
			if (op->invoke && !refused && op_changes(op) && !op_puts(op))
				ARRAY_ADD(&g->deletes, op);
		}
	}
	if (g->deletes.n)
		qsort(g->deletes.at, g->deletes.n, sizeof(g->deletes.at[0]), by_answer);
}

static void find_lives(struct gathered *g)
{
	for (size_t i = 0; i < g->n_logs; i++) {
		const struct log *log = &g->logs[i];
		if (!log->n)
			continue;
		assert(log->entries[0].type == ENTRY_LIFE);
		while (g->lives.n <= log->entries[0].op)
			ARRAY_ADD(&g->lives, (struct life){ 0 });
		struct life *life = &g->lives.at[log->entries[0].op];
		assert(!life->ops);
		for (size_t k = 0; k < log->n; k++)
			if (log->entries[k].type == ENTRY_INVOKE)
				life->n = log->entries[k].op & UINT32_MAX; // they rise
		life->ops = xcalloc(life->n + 1, sizeof(*life->ops));
		g->verdict->lives++;
	}
}

void gather(struct gathered *g)
{
	find_lives(g);
	for (size_t i = 0; i < g->n_logs; i++)
		gather_log(g, &g->logs[i]);
	unite_events(g);
	order_seen(g);
	unite_intervals(g);
	find_deletes(g);
	if (g->questions.n)
		qsort(g->questions.at, g->questions.n, sizeof(g->questions.at[0]), by_revision);
	if (!g->held.n)
		return;
	qsort(g->held.at, g->held.n, sizeof(g->held.at[0]), by_key);
	size_t n = 1;
	for (size_t i = 1; i < g->held.n; i++)
		if (g->held.at[i] != g->held.at[n - 1])
			g->held.at[n++] = g->held.at[i];
	g->held.n = n;
}

void gathered_clear(struct gathered *g)
{
	for (size_t i = 0; i < g->lives.n; i++)
		free(g->lives.at[i].ops);
	free(g->lives.at);
	free(g->segments.at);
	free(g->events.at);
	free(g->questions.at);
	free(g->seen.at);
	free(g->intervals.at);
	free(g->held.at);
	free(g->deletes.at);
}
