#include "private.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>

enum { SHOWN = 5, TEXT_MAX = 64 << 10 };

typedef unsigned long long ull;

const char *violation_name(enum violation violation)
{
	static const char *const names[VIOLATIONS] = {
		[VIOLATION_LOST] = "lost acknowledgement", [VIOLATION_FAILED] = "applied though refused",
		[VIOLATION_TWICE] = "doubled apply",       [VIOLATION_NOBODY] = "asked for by nobody",
		[VIOLATION_PART] = "applied in part",      [VIOLATION_DROPPED] = "dropped event",
		[VIOLATION_DUPLICATE] = "duplicate event", [VIOLATION_DISAGREE] = "streams disagree",
		[VIOLATION_CHAIN] = "broken chain",        [VIOLATION_COMPARE] = "wrong compare",
		[VIOLATION_FENCE] = "wrong fence",         [VIOLATION_READ] = "wrong read",
		[VIOLATION_TIME] = "out of time",          [VIOLATION_TORN] = "torn value",
	};
	return names[violation];
}

void violate(struct verdict *v, enum violation violation, const char *fmt, ...)
{
	v->violations++;
	if (v->found[violation]++ >= SHOWN)
		return;
	AUTO_FREE char *text = NULL;
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	buf_addf(&v->text, "%s: %s\n", violation_name(violation), text);
}

void verdict_clear(struct verdict *verdict)
{
	buf_clear(&verdict->text);
}

// ---- streams

static bool of_stream(unsigned stream, const struct entry *e)
{
	return stream == 0 || e->key / GROUP_KEYS == stream - 1;
}

static size_t first_after(const struct gathered *g, uint64_t revision)
{
	size_t low = 0, high = g->events.n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (g->events.at[middle]->mod <= revision)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// The events of the truth that stand before e in it, from *at on: the stream should have shown them.
static void skip_to(struct gathered *g, const struct segment *s, size_t *at, uint64_t mod, unsigned index)
{
	for (; *at < g->events.n; ++*at) {
		const struct entry *e = g->events.at[*at];
		if (e->mod > mod || (e->mod == mod && e->index >= index))
			return;
		if (of_stream(s->stream, e))
			violate(g->verdict, VIOLATION_DROPPED,
				"stream %u of life %llu lacks change %u of revision %llu", s->stream,
				(ull)s->log->entries[0].op, e->index, (ull)e->mod);
	}
}

static void check_segment(struct gathered *g, const struct segment *s)
{
	size_t at = first_after(g, s->from);
	for (size_t i = s->first + 1 + s->log->entries[s->first].value; i < s->end; i++) {
		const struct entry *e = &s->log->entries[i];
		if (e->kind != s->stream)
			continue;
		if (e->type == ENTRY_PROGRESS)
			skip_to(g, s, &at, e->revision + 1, 0);
		if (e->type != ENTRY_EVENT)
			continue;
		skip_to(g, s, &at, e->mod, e->index);
		const struct entry *next = at < g->events.n ? g->events.at[at] : NULL;
		if (next && next->mod == e->mod && next->index == e->index)
			at++;
		else
			violate(g->verdict, VIOLATION_DUPLICATE,
				"stream %u of life %llu shows change %u of revision %llu again, or too late", s->stream,
				(ull)s->log->entries[0].op, e->index, (ull)e->mod);
	}
}

// ---- time, and order within a process

struct order {
	struct gathered *g;
	uint64_t life, read, acknowledged;
	struct op *last[KEYS]; // acknowledged, of those that changed that key
};

static bool fenced(const struct op *op)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++)
		if (parts[i].type == ENTRY_FENCE)
			return true;
	return false;
}

static void check_return(struct order *o, const struct entry *e)
{
	const struct op *op = gathered_op(o->g, e->op);
	uint64_t seen = seen_before(o->g, op->invoke->time_ns);
	if (op->invoke->kind == OP_AWAIT ||
	    (e->kind != STORE_OK && e->kind != STORE_CONFLICT && e->kind != STORE_FENCED))
		return;
	if (e->revision < seen || (e->revision == seen && e->kind == STORE_OK && op_puts(op)))
		violate(o->g->verdict, VIOLATION_TIME,
			"operation %llx was answered with revision %llu, asked for after %llu was seen", (ull)e->op,
			(ull)e->revision, (ull)seen);
	if (e->kind == STORE_OK && e->revision > o->acknowledged)
		o->acknowledged = e->revision;
}

static void check_read(struct order *o, const struct entry *e)
{
	const struct op *op = e->op ? gathered_op(o->g, e->op) : NULL;
	uint64_t least = o->read > o->acknowledged ? o->read : o->acknowledged;
	if (op && op->invoke->kind == OP_AWAIT && op->invoke->revision > least)
		least = op->invoke->revision;
	if (op && op->invoke->kind == OP_EMPTY) {
		uint64_t seen = seen_before(o->g, op->invoke->time_ns);
		least = seen > least ? seen : least;
	}
	if (e->revision < least)
		violate(o->g->verdict, VIOLATION_TIME, "life %llu reads at revision %llu, it should be %llu at least",
			(ull)o->life, (ull)e->revision, (ull)least);
	o->read = e->revision > o->read ? e->revision : o->read;
}

// In the order in which they were asked for.
static void check_keys(struct order *o, struct op *op)
{
	if (!op->ret || op->ret->kind != STORE_OK || !op_changes(op) || fenced(op))
		return;
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++) {
		if ((parts[i].type != ENTRY_PUT && parts[i].type != ENTRY_DELETE) || parts[i].key >= KEYS)
			continue;
		struct op *before = o->last[parts[i].key];
		if (before && before->ret->revision > op->ret->revision)
			violate(o->g->verdict, VIOLATION_TIME,
				"operation %llx got revision %llu, one on the same key before it %llu",
				(ull)op->invoke->op, (ull)op->ret->revision, (ull)before->ret->revision);
		o->last[parts[i].key] = op;
	}
}

static void check_order(struct gathered *g, const struct log *log)
{
	struct order o = { .g = g, .life = log->n ? log->entries[0].op : 0 };
	for (size_t i = 0; i < log->n; i++) {
		const struct entry *e = &log->entries[i];
		if (e->type == ENTRY_RETURN)
			check_return(&o, e);
		else if (e->type == ENTRY_READ || e->type == ENTRY_LIST)
			check_read(&o, e);
	}
	const struct life *life = log->n ? &g->lives.at[log->entries[0].op] : NULL;
	for (size_t i = 0; life && i < life->n; i++)
		if (life->ops[i].invoke)
			check_keys(&o, &life->ops[i]);
}

void check_histories(const struct log *logs, size_t n, struct verdict *ret)
{
	*ret = (struct verdict){ .text = BUF_INIT(TEXT_MAX) };
	struct gathered g = { .verdict = ret, .logs = logs, .n_logs = n };
	gather(&g);
	for (size_t i = 0; i < g.segments.n; i++)
		check_segment(&g, &g.segments.at[i]);
	replay(&g);
	for (size_t i = 0; i < n; i++)
		check_order(&g, &logs[i]);
	gathered_clear(&g);
}
