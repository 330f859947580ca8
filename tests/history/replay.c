#include "private.h"

#include "base/str.h"

#include <assert.h>

struct at { // a record as it is at this revision; create 0: there is none
	uint64_t create, mod, version, value;
};

struct replay {
	struct gathered *g;
	struct verdict *v;
	struct at *state; // of KEYS and then of g->held
	size_t n, live;
	uint64_t revision;
};

typedef unsigned long long ull;

static struct at *state_of(struct replay *r, uint32_t key)
{
	if (key < KEYS)
		return &r->state[key];
	size_t low = 0, high = r->g->held.n;
	while (low + 1 < high) {
		size_t middle = (low + high) / 2;
		if (r->g->held.at[middle] <= key)
			low = middle;
		else
			high = middle;
	}
	static struct at nothing;
	nothing = (struct at){ 0 };
	return r->g->held.n && r->g->held.at[low] == key ? &r->state[KEYS + low] : &nothing;
}

static bool same(const struct at *at, const struct entry *e)
{
	if (!at->create || !e->create)
		return !at->create && !e->create;
	return at->create == e->create && at->mod == e->mod && at->version == e->version && at->value == e->value;
}

static const char *name_of(uint32_t key)
{
	static char text[KEY_TEXT];
	key_text(key, text);
	return text;
}

// ---- an operation that is found in the history

static bool if_holds(struct replay *r, const struct entry *part)
{
	const struct at *at = state_of(r, part->key);
	if (part->kind == IF_EXISTS)
		return at->create;
	if (part->kind == IF_CREATED)
		return at->create == part->revision;
	return (at->create ? at->mod : 0) == part->revision;
}

static void check_guards(struct replay *r, const struct op *op, uint64_t revision)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++) {
		const struct entry *p = &parts[i];
		if (p->type == ENTRY_IF && !if_holds(r, p))
			violate(r->v, VIOLATION_COMPARE,
				"operation %llx is applied at revision %llu although %s differs", (ull)op->invoke->op,
				(ull)revision, name_of(p->key));
		if (p->type == ENTRY_FENCE && state_of(r, p->key)->create != p->create)
			violate(r->v, VIOLATION_FENCE,
				"operation %llx is applied at revision %llu, fenced by a key created at %llu that is "
				"there from %llu",
				(ull)op->invoke->op, (ull)revision, (ull)p->create, (ull)state_of(r, p->key)->create);
	}
}

static const struct entry *find_event(const struct entry *const *events, size_t n, uint32_t key)
{
	for (size_t i = 0; i < n; i++)
		if (events[i]->key == key)
			return events[i];
	return NULL;
}

static void check_effect(struct replay *r, const struct op *op, const struct entry *const *events, size_t n)
{
	size_t n_parts, expected = 0;
	const struct entry *parts = op_parts(op, &n_parts);
	bool whole = true;
	for (size_t i = 0; i < n_parts; i++) {
		const struct entry *p = &parts[i], *e = find_event(events, n, p->key);
		bool put = p->type == ENTRY_PUT;
		if (!put && (p->type != ENTRY_DELETE || !state_of(r, p->key)->create))
			continue;
		expected++;
		whole = whole && e && (put ? !e->deleted && e->value == p->value : e->deleted);
	}
	if (!whole || expected != n)
		violate(r->v, VIOLATION_PART, "revision %llu changes %zu keys, operation %llx asked for %zu",
			(ull)events[0]->mod, n, (ull)op->invoke->op, expected);
}

static void check_answer(struct replay *r, struct op *op, uint64_t revision)
{
	const struct entry *ret = op->ret;
	ull id = op->invoke->op;
	if (op->applied)
		violate(r->v, VIOLATION_TWICE, "operation %llx is applied at revision %llu and at %llu", id,
			(ull)op->applied, (ull)revision);
	op->applied = revision;
	if (ret && ret->kind == STORE_OK && ret->revision != revision)
		violate(r->v, VIOLATION_LOST, "operation %llx was acknowledged at revision %llu, but applied at %llu",
			id, (ull)ret->revision, (ull)revision);
	else if (ret && ret->kind != STORE_OK && ret->kind != STORE_UNKNOWN)
		violate(r->v, VIOLATION_FAILED, "operation %llx was answered '%s', but applied at revision %llu", id,
			store_result_name(ret->kind), (ull)revision);
	uint64_t seen = seen_before(r->g, op->invoke->time_ns);
	if (seen >= revision)
		violate(r->v, VIOLATION_TIME,
			"operation %llx is applied at revision %llu, asked for after %llu was seen", id, (ull)revision,
			(ull)seen);
}

static bool guards_hold(struct replay *r, const struct op *op)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++)
		if ((parts[i].type == ENTRY_IF && !if_holds(r, &parts[i])) ||
		    (parts[i].type == ENTRY_FENCE && state_of(r, parts[i].key)->create != parts[i].create))
			return false;
	return true;
}

// Of those that were answered with this revision: the first of them; more may follow.
static size_t first_delete(const struct gathered *g, uint64_t answered)
{
	size_t low = 0, high = g->deletes.n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (op_answered(g->deletes.at[middle]) < answered)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// Nothing in a deletion says whose it is: one that was answered with this revision, or has no certain answer. Others
// may name this revision, too, having found nothing to delete.
static struct op *find_delete(struct replay *r, const struct entry *const *events, size_t n, uint64_t answered)
{
	struct op *wrong = NULL, *fits = NULL;
	for (size_t i = first_delete(r->g, answered); i < r->g->deletes.n; i++) {
		struct op *op = r->g->deletes.at[i];
		if (op_answered(op) != answered)
			break;
		size_t n_parts, found = 0;
		const struct entry *parts = op_parts(op, &n_parts);
		for (size_t k = 0; k < n_parts; k++)
			found += parts[k].type == ENTRY_DELETE && find_event(events, n, parts[k].key);
		if (op->applied || !found)
			continue;
		wrong = op;
		if (found != n || !guards_hold(r, op) || seen_before(r->g, op->invoke->time_ns) >= events[0]->mod)
			continue;
		fits = op;
		for (size_t k = 0; k < n_parts; k++)
			if (parts[k].type == ENTRY_IF && find_event(events, n, parts[k].key))
				return op; // it can only have been this one: afterwards, this compare does not hold
	}
	if (fits)
		return fits;
	// Nothing fits: one without an answer may, else it is shown what is wrong with the one that was answered.
	struct op *possible = answered ? find_delete(r, events, n, 0) : NULL;
	return possible || !answered ? possible : wrong;
}

static void check_operation(struct replay *r, const struct entry *const *events, size_t n)
{
	struct op *op = NULL;
	bool puts = false;
	for (size_t i = 0; i < n && !puts; i++) {
		puts = !events[i]->deleted;
		if (puts)
			op = gathered_op(r->g, op_of(events[i]->value));
	}
	if (!puts)
		op = find_delete(r, events, n, events[0]->mod);
	if (!op) {
		violate(r->v, VIOLATION_NOBODY, "revision %llu changes %s", (ull)events[0]->mod,
			name_of(events[0]->key));
		return;
	}
	check_guards(r, op, events[0]->mod);
	check_effect(r, op, events, n);
	check_answer(r, op, events[0]->mod);
}

// ---- events

static void apply_event(struct replay *r, const struct entry *e)
{
	struct at *at = state_of(r, e->key);
	struct at next = { 0 };
	bool fits = e->revision == (at->create ? at->mod : 0);
	if (e->deleted)
		fits = fits && at->create;
	else if (at->create)
		fits = fits && e->create == at->create && e->version == at->version + 1;
	else
		fits = fits && e->create == e->mod && e->version == 1;
	if (!fits)
		violate(r->v, VIOLATION_CHAIN, "the change of %s at revision %llu does not follow from the one at %llu",
			name_of(e->key), (ull)e->mod, (ull)at->mod);
	if (!e->deleted)
		next = (struct at){ e->create, e->mod, e->version, e->value };
	r->live += (next.create != 0) - (size_t)(at->create != 0);
	*at = next;
}

// All events of one revision; returns how many there are.
static size_t apply_revision(struct replay *r, size_t at)
{
	const struct entry *const *all = r->g->events.at + at;
	const struct entry *own[KEYS];
	size_t n = 0, n_own = 0;
	while (at + n < r->g->events.n && all[n]->mod == all[0]->mod) {
		if (all[n]->key < KEYS && n_own < KEYS)
			own[n_own++] = all[n];
		n++;
	}
	if (n_own)
		check_operation(r, own, n_own);
	for (size_t i = 0; i < n; i++)
		apply_event(r, all[i]);
	r->v->revisions++;
	return n;
}

// ---- questions

static void check_record(struct replay *r, const struct entry *e, uint64_t revision, const char *how)
{
	if (!same(state_of(r, e->key), e))
		violate(r->v, VIOLATION_READ, "%s was %s at revision %llu as of %llu (%llx); it is of %llu (%llx)",
			name_of(e->key), how, (ull)revision, (ull)e->mod, (ull)e->value, (ull)state_of(r, e->key)->mod,
			(ull)state_of(r, e->key)->value);
}

static void check_list(struct replay *r, const struct entry *list)
{
	size_t live = 0;
	bool all = list->type == ENTRY_WATCH;
	for (unsigned i = 0; !all && i < GROUP_KEYS; i++)
		live += r->state[list->key * GROUP_KEYS + i].create != 0;
	if ((all ? r->live : live) != list->value)
		violate(r->v, VIOLATION_READ, "a list at revision %llu has %llu records; there are %zu",
			(ull)list->revision, (ull)list->value, all ? r->live : live);
	for (size_t i = 1; i <= list->value; i++)
		check_record(r, &list[i], list->revision, "listed");
}

static void check_conflict(struct replay *r, const struct op *op)
{
	size_t n, at = 0;
	const struct entry *parts = op_parts(op, &n), *ret = op->ret;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].type != ENTRY_IF)
			continue;
		if (at == ret->value) {
			struct entry found = ret[1];
			found.key = found.create ? found.key : parts[i].key;
			check_record(r, &found, ret->revision, "handed out by a conflict");
			if (found.key != parts[i].key)
				violate(r->v, VIOLATION_COMPARE, "the conflict of operation %llx shows another key",
					(ull)op->invoke->op);
		}
		if (at <= ret->value && if_holds(r, &parts[i]) != (at < ret->value))
			violate(r->v, VIOLATION_COMPARE, "compare %zu of operation %llx %s at revision %llu", at,
				(ull)op->invoke->op, at < ret->value ? "does not hold" : "holds", (ull)ret->revision);
		at++;
	}
	if (at <= ret->value)
		violate(r->v, VIOLATION_COMPARE, "operation %llx has no compare %llu", (ull)op->invoke->op,
			(ull)ret->value);
}

static void check_fenced(struct replay *r, const struct op *op)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++)
		if (parts[i].type == ENTRY_FENCE && state_of(r, parts[i].key)->create == parts[i].create)
			violate(r->v, VIOLATION_FENCE, "operation %llx was fenced at revision %llu by what it held",
				(ull)op->invoke->op, (ull)op->ret->revision);
}

// Acknowledged, and not met in the history: right only if it had nothing to change there.
static void check_idle(struct replay *r, const struct op *op)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	bool idle = true;
	for (size_t i = 0; i < n; i++)
		idle = idle && parts[i].type != ENTRY_PUT &&
		       (parts[i].type != ENTRY_DELETE || !state_of(r, parts[i].key)->create);
	if (!idle)
		violate(r->v, VIOLATION_LOST, "operation %llx was acknowledged at revision %llu; it is not there",
			(ull)op->invoke->op, (ull)op->ret->revision);
	else
		check_guards(r, op, op->ret->revision);
}

static void answer(struct replay *r, const struct question *q)
{
	const struct entry *e = q->entry;
	r->v->checked++;
	if (e->type == ENTRY_READ)
		check_record(r, e, e->revision, "read");
	else if (e->type != ENTRY_RETURN)
		check_list(r, e);
	else if (e->kind == STORE_CONFLICT)
		check_conflict(r, q->op);
	else if (e->kind == STORE_FENCED)
		check_fenced(r, q->op);
	else if (!q->op->applied)
		check_idle(r, q->op);
}

// ---- revisions that no stream covers

static bool may_delete(const struct op *op, uint32_t key, uint64_t after, uint64_t until)
{
	if (!op->invoke || op->applied)
		return false;
	if (op->ret && op->ret->kind != STORE_UNKNOWN &&
	    (op->ret->kind != STORE_OK || op->ret->revision <= after || op->ret->revision > until))
		return false;
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	for (size_t i = 0; i < n; i++)
		if (parts[i].type == ENTRY_DELETE && parts[i].key == key)
			return true;
	return false;
}

static bool somebody_may_delete(struct replay *r, uint32_t key, uint64_t after, uint64_t until)
{
	for (size_t l = 0; l < r->g->lives.n; l++)
		for (size_t i = 0; i < r->g->lives.at[l].n; i++)
			if (may_delete(&r->g->lives.at[l].ops[i], key, after, until))
				return true;
	return false;
}

// The state is the snapshot that follows the hole: it must hold what was acknowledged in between.
static void check_acknowledged(struct replay *r, struct op *op, uint64_t until)
{
	size_t n;
	const struct entry *parts = op_parts(op, &n);
	uint64_t revision = op->ret->revision;
	bool found = true;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].type != ENTRY_PUT)
			continue;
		const struct at *at = state_of(r, parts[i].key);
		if (!at->create)
			found = found && somebody_may_delete(r, parts[i].key, revision, until);
		else
			found = found && (at->mod > revision || (at->mod == revision && at->value == parts[i].value));
	}
	if (!found)
		violate(r->v, VIOLATION_LOST, "operation %llx was acknowledged at revision %llu; %llu does not show it",
			(ull)op->invoke->op, (ull)revision, (ull)until);
	op->applied = revision;
}

static void check_hole(struct replay *r, const struct interval *next, const struct question *questions, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (questions[i].op && questions[i].entry->kind == STORE_OK)
			check_acknowledged(r, questions[i].op, next->from);
	for (size_t i = 1; i <= next->snapshot->value; i++) {
		const struct entry *e = &next->snapshot[i];
		struct op *op = e->key < KEYS && e->mod > r->revision ? gathered_op(r->g, op_of(e->value)) : NULL;
		if (op && op->applied != e->mod)
			check_answer(r, op, e->mod);
		else if (!op && e->key < KEYS && e->mod > r->revision)
			violate(r->v, VIOLATION_NOBODY, "%s as of revision %llu", name_of(e->key), (ull)e->mod);
	}
}

static void load_snapshot(struct replay *r, const struct entry *snapshot)
{
	memset(r->state, 0, r->n * sizeof(*r->state));
	r->live = snapshot->value;
	for (size_t i = 1; i <= snapshot->value; i++)
		*state_of(r, snapshot[i].key) =
			(struct at){ snapshot[i].create, snapshot[i].mod, snapshot[i].version, snapshot[i].value };
}

void replay(struct gathered *g)
{
	struct replay r = { .g = g, .v = g->verdict, .n = KEYS + g->held.n };
	size_t q = 0, e = 0;
	r.state = xcalloc(r.n, sizeof(*r.state));
	for (size_t i = 0; i < g->intervals.n; i++) {
		const struct interval *in = &g->intervals.at[i];
		size_t first = q;
		while (q < g->questions.n && g->questions.at[q].revision < in->from)
			q++;
		size_t end = q; // what was acknowledged at the snapshot's own revision belongs to it, too
		while (end < g->questions.n && g->questions.at[end].revision == in->from)
			end++;
		load_snapshot(&r, in->snapshot);
		check_hole(&r, in, g->questions.at + first, end - first);
		g->verdict->not_checked += q - first;
		while (e < g->events.n && g->events.at[e]->mod <= in->from)
			e++;
		for (;;) {
			uint64_t next_event = e < g->events.n ? g->events.at[e]->mod : UINT64_MAX;
			uint64_t next_question = q < g->questions.n ? g->questions.at[q].revision : UINT64_MAX;
			if ((next_event < next_question ? next_event : next_question) > in->to)
				break;
			if (next_event <= next_question)
				e += apply_revision(&r, e);
			else
				answer(&r, &g->questions.at[q++]);
		}
		r.revision = in->to;
	}
	g->verdict->not_checked += g->questions.n - q;
	free(r.state);
}
