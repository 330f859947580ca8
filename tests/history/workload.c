#include "workload.h"

#include "base/clock.h"
#include "base/str.h"

#include <assert.h>

enum {
	PAD_MAX = 120,
	BIG_BYTES = 200 << 10,
	KEYS_MAX = 6, // of one transaction
	LATE_MS = 150,
	RESTART_MS = 700,
	STORM_MS = 1500,
	STORM_TTL_MS = 2000,
	SNAPSHOT_MAX = 100000,
};

struct client {
	struct workload *load;
	struct timer rest;
	uint64_t op;
	enum op_kind kind;
	unsigned group;
	bool last; // of the process: a linearizable read when all else is done
};

static uint64_t below(struct workload *load, uint64_t n)
{
	return rng_below(&load->rng, n);
}

// ---- what is asked

static uint64_t next_op(struct workload *load)
{
	return (uint64_t)load->options.life << 32 | ++load->ops;
}

static struct entry *invoke(struct workload *load, uint64_t op, enum op_kind kind, uint64_t revision)
{
	return log_add(load->log, (struct entry){ .type = ENTRY_INVOKE, .kind = kind, .op = op, .revision = revision });
}

static void compare(struct workload *load, struct store_txn *txn, uint32_t key, const struct record *r)
{
	char text[KEY_TEXT];
	key_text(key, text);
	struct entry e = { .type = ENTRY_IF, .key = key };
	unsigned way = (unsigned)below(load, 10);
	if (way == 0) {
		e.kind = IF_EXISTS;
		store_txn_if_exists(txn, text);
	} else if (way < 3) {
		e.kind = IF_CREATED;
		e.revision = r ? r->create_revision : 0;
		store_txn_if_created(txn, text, e.revision);
	} else {
		e.kind = IF_REVISION;
		e.revision = r ? r->mod_revision : 0;
		if (e.revision && below(load, 20) == 0)
			e.revision--; // surely wrong
		store_txn_if_revision(txn, text, e.revision);
	}
	log_add(load->log, e);
}

static void change(struct workload *load, struct store_txn *txn, uint32_t key, uint64_t op, unsigned index, bool put)
{
	char text[KEY_TEXT];
	key_text(key, text);
	struct entry e = { .type = put ? ENTRY_PUT : ENTRY_DELETE, .key = key, .value = put ? value_of(op, index) : 0 };
	if (put) {
		static char bytes[BIG_BYTES];
		bool big = load->big && load->big--;
		size_t len = big ? BIG_BYTES : 16 + (size_t)below(load, PAD_MAX);
		value_write(e.value, bytes, len);
		store_txn_put(txn, text, bytes, len);
	} else {
		store_txn_delete(txn, text);
	}
	log_add(load->log, e);
}

// Up to KEYS_MAX keys of one group, each at most once; compares on some, changes on some.
static struct store_txn *make_txn(struct workload *load, uint64_t op, const struct store_hold *fence)
{
	static const uint8_t sizes[] = { 1, 1, 1, 1, 1, 2, 3, KEYS_MAX };
	struct store_txn *txn = store_txn_new();
	struct entry *head = invoke(load, op, OP_TXN, 0);
	unsigned n = sizes[below(load, sizeof(sizes))], group = (unsigned)below(load, GROUPS);
	uint32_t first = (uint32_t)below(load, GROUP_KEYS), step = 1 + 2 * (uint32_t)below(load, GROUP_KEYS / 2);
	size_t before = load->log->n;
	if (fence) {
		store_txn_fence(txn, fence);
		log_add(load->log, (struct entry){ .type = ENTRY_FENCE,
						   .key = key_of("v1/leader"),
						   .create = store_hold_revision(fence) });
	}
	unsigned compares = load->big || fence ? 0 : (unsigned)below(load, 3);
	unsigned deletes = load->big ? 0 : 1 + (unsigned)below(load, 3); // in ten
	for (unsigned i = 0; i < n; i++) {
		uint32_t key = group * GROUP_KEYS + (first + i * step) % GROUP_KEYS; // step is odd: no key twice
		char text[KEY_TEXT];
		key_text(key, text);
		if (i < compares)
			compare(load, txn, key, store_get(load->store, text));
		if (n == 1 || i != 1) // one of several is only compared, or left alone
			change(load, txn, key, op, i, below(load, 10) >= deletes);
	}
	head->key = (uint32_t)(load->log->n - before);
	return txn;
}

// ---- what is read

static void read_some(struct workload *load, uint64_t op, unsigned group)
{
	uint64_t revision = store_revision(load->store);
	char text[KEY_TEXT];
	uint32_t key = group * GROUP_KEYS + (uint32_t)below(load, GROUP_KEYS);
	key_text(key, text);
	log_record(load->log, (struct entry){ .type = ENTRY_READ, .key = key, .op = op, .revision = revision },
		   store_get(load->store, text));
	load->reads++;
	if (below(load, 4))
		return;
	AUTO_STORE_LIST struct store_list list = { 0 };
	snprintf(text, sizeof(text), "h/%02u/", group);
	store_list(load->store, text, NULL, GROUP_KEYS, &list);
	log_add(load->log,
		(struct entry){
			.type = ENTRY_LIST, .key = group, .op = op, .revision = list.revision, .value = list.count });
	for (size_t i = 0; i < list.count; i++)
		log_record(load->log, (struct entry){ .type = ENTRY_RECORD }, list.records[i]);
	load->reads++;
}

// ---- clients

static void rest(struct client *c)
{
	unsigned pace = c->load->options.pace_ms;
	timer_set(&c->rest, pace ? below(c->load, 2 * pace + 1) : 0);
}

static void ended(struct client *c)
{
	struct workload *load = c->load;
	load->flying--;
	if (c->last)
		task_wake(load->ended);
	else if (load->big)
		timer_set(&c->rest, 0);
	else
		rest(c);
}

static void note_return(struct workload *load, uint64_t op, const struct store_answer *a)
{
	load->counts[a->result]++;
	log_add(load->log, (struct entry){ .type = ENTRY_RETURN,
					   .kind = (uint8_t)a->result,
					   .op = op,
					   .revision = a->revision,
					   .value = a->compare });
	if (a->result == STORE_CONFLICT)
		log_record(load->log, (struct entry){ .type = ENTRY_RECORD }, a->record);
	struct shared *shared = load->options.shared;
	uint64_t known = __atomic_load_n(&shared->revision, __ATOMIC_ACQUIRE);
	while (a->result == STORE_OK && known < a->revision &&
	       !__atomic_compare_exchange_n(&shared->revision, &known, a->revision, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE))
		;
}

static void answered(void *arg, const struct store_answer *answer)
{
	struct client *c = arg;
	note_return(c->load, c->op, answer);
	if (answer->result == STORE_OK && c->kind != OP_TXN)
		read_some(c->load, c->op, c->group);
	ended(c);
}

static void next(struct client *c)
{
	struct workload *load = c->load;
	unsigned way = (unsigned)below(load, 100);
	c->group = (unsigned)below(load, GROUPS);
	c->op = next_op(load);
	c->kind = c->last || (!load->big && way < 10) ? OP_EMPTY : !load->big && way < 20 ? OP_AWAIT : OP_TXN;
	load->flying++;
	if (c->kind == OP_TXN) {
		store_commit(load->store, make_txn(load, c->op, NULL), answered, c);
		return;
	}
	uint64_t revision = __atomic_load_n(&load->options.shared->revision, __ATOMIC_ACQUIRE);
	invoke(load, c->op, c->kind, revision);
	if (c->kind == OP_AWAIT)
		store_await(load->store, store_txn_new(), revision, answered, c);
	else
		store_commit(load->store, store_txn_new(), answered, c);
}

static void fire(struct timer *timer)
{
	struct client *c = CONTAINER_OF(timer, struct client, rest);
	struct workload *load = c->load;
	if (c->last ? load->flying > 0 : load->stopping) {
		if (c->last)
			timer_set(timer, 10); // until the others have their answers
		return;
	}
	if (!c->last && !load->big && below(load, 10) < 3) {
		read_some(load, 0, (unsigned)below(load, GROUPS));
		rest(c);
	} else {
		next(c);
	}
}

// ---- watches

static void snapshot(struct stream *s)
{
	struct workload *load = s->load;
	struct entry head = { .type = ENTRY_WATCH,
			      .kind = (uint8_t)s->number,
			      .revision = store_revision(load->store) };
	AUTO_STORE_LIST struct store_list list = { 0 };
	char prefix[KEY_TEXT] = "";
	if (s->number)
		snprintf(prefix, sizeof(prefix), "h/%02u/", s->number - 1);
	else
		store_list(load->store, "", NULL, SNAPSHOT_MAX, &list);
	head.value = list.count;
	log_add(load->log, head);
	for (size_t i = 0; i < list.count; i++)
		log_record(load->log, (struct entry){ .type = ENTRY_RECORD }, list.records[i]);
	s->told = head.revision;
	store_watch_start(&s->watch, load->store, prefix, head.revision, &s->task);
}

static void read_stream(struct task *task)
{
	struct stream *s = CONTAINER_OF(task, struct stream, task);
	struct log *log = s->load->log;
	struct store_event e;
	enum store_watch_result r;
	while ((r = store_watch_next(&s->watch, &e)) == STORE_WATCH_EVENT) {
		struct entry head = { .type = ENTRY_EVENT, .kind = (uint8_t)s->number, .revision = e.previous };
		log_record(log, head, e.record);
	}
	if (r == STORE_WATCH_LIST_AGAIN) {
		store_watch_stop(&s->watch);
		snapshot(s);
		return;
	}
	uint64_t revision = store_watch_revision(&s->watch);
	if (revision > s->told)
		log_add(log,
			(struct entry){ .type = ENTRY_PROGRESS, .kind = (uint8_t)s->number, .revision = revision });
	s->told = revision;
}

// A watch that continues where another one stopped must be the same as one.
static void restart_streams(struct timer *timer)
{
	struct workload *load = CONTAINER_OF(timer, struct workload, restart);
	for (unsigned i = 1; i < STREAMS; i++) {
		struct stream *s = &load->streams[i];
		char prefix[KEY_TEXT];
		uint64_t revision = store_watch_revision(&s->watch);
		snprintf(prefix, sizeof(prefix), "h/%02u/", i - 1);
		store_watch_stop(&s->watch);
		store_watch_start(&s->watch, load->store, prefix, revision, &s->task);
	}
	timer_set(timer, RESTART_MS);
}

// ---- a leader's writes: made while it leads, committed a while later, when it may not lead any more

struct late {
	struct workload *load;
	struct store_txn *txn;
	uint64_t op;
};

static void late_answered(void *arg, const struct store_answer *answer)
{
	AUTO_FREE struct late *l = arg;
	note_return(l->load, l->op, answer);
	l->load->fenced_ok += answer->result == STORE_OK;
	l->load->flying--;
}

// There is always one that waits, so that a holder that is paused has one when it wakes.
static void late(struct timer *timer)
{
	struct workload *load = CONTAINER_OF(timer, struct workload, late_timer);
	struct late *l = TAKE_PTR(load->late);
	if (l)
		store_commit(load->store, TAKE_PTR(l->txn), late_answered, l);
	if (!load->stopping && !load->big && store_holds(load->leader)) {
		load->late = l = xcalloc(1, sizeof(*l));
		l->load = load;
		l->op = next_op(load);
		l->txn = make_txn(load, l->op, load->leader);
		load->flying++;
	}
	timer_set(timer, load->stopping ? 10 : LATE_MS);
}

static void changed(UNUSED struct task *task)
{
}

// ---- storms of leases

static void end_storm(struct timer *timer)
{
	struct workload *load = CONTAINER_OF(timer, struct workload, storm_over);
	for (size_t i = 0; load->storm && load->storm[i]; i++)
		store_hold_stop(load->storm[i]);
	free(TAKE_PTR(load->storm));
}

void workload_storm(struct workload *load, unsigned holds)
{
	end_storm(&load->storm_over);
	load->storm = xcalloc(holds + 1, sizeof(load->storm[0]));
	for (unsigned i = 0; i < holds; i++) {
		char key[32];
		snprintf(key, sizeof(key), "storm/%u", i);
		load->storm[i] = store_hold_start(load->store, key, "", 0, STORM_TTL_MS, &load->changed);
	}
	timer_set(&load->storm_over, STORM_MS);
}

void workload_big(struct workload *load, unsigned puts)
{
	load->big = puts;
}

// ---- start and stop

static void start_leading(struct workload *load)
{
	char name[32];
	int n = snprintf(name, sizeof(name), "life %u", load->options.life);
	load->leader =
		store_hold_start(load->store, "v1/leader", name, (size_t)n, load->options.hold_ttl_ms, &load->changed);
	timer_init(&load->late_timer, load->loop, late);
	timer_set(&load->late_timer, LATE_MS);
}

void workload_start(struct workload *load, struct store *store, struct loop *loop, struct log *log,
		    const struct workload_options *options)
{
	*load = (struct workload){ .options = *options, .store = store, .loop = loop, .log = log };
	load->rng.state = options->seed ^ (uint64_t)options->life << 40;
	log_add(log, (struct entry){ .type = ENTRY_LIFE, .op = options->life });
	for (unsigned i = 0; i < STREAMS; i++) {
		struct stream *s = &load->streams[i];
		*s = (struct stream){ .load = load, .number = i };
		task_init(&s->task, loop, "stream", read_stream);
		snapshot(s);
	}
	timer_init(&load->restart, loop, restart_streams);
	timer_set(&load->restart, RESTART_MS);
	task_init(&load->changed, loop, "hold changed", changed);
	timer_init(&load->storm_over, loop, end_storm);
	load->clients = xcalloc(options->clients + 1, sizeof(struct client));
	for (unsigned i = 0; i <= options->clients; i++) {
		struct client *c = &load->clients[i];
		*c = (struct client){ .load = load, .last = i == options->clients };
		timer_init(&c->rest, loop, fire);
		if (!c->last)
			rest(c);
	}
	if (options->hold_ttl_ms)
		start_leading(load);
}

void workload_stop(struct workload *load, struct task *over)
{
	load->stopping = true;
	load->big = 0;
	load->ended = over;
	timer_set(&load->clients[load->options.clients].rest, 0);
}

bool workload_over(const struct workload *load)
{
	return load->stopping && !load->flying;
}

void workload_clear(struct workload *load)
{
	assert(workload_over(load));
	timer_clear(&load->restart);
	for (unsigned i = 0; i < STREAMS; i++) {
		read_stream(&load->streams[i].task);
		store_watch_stop(&load->streams[i].watch);
		task_clear(&load->streams[i].task);
	}
	log_add(load->log, (struct entry){ .type = ENTRY_END });
	end_storm(&load->storm_over);
	timer_clear(&load->storm_over);
	store_hold_stop(load->leader);
	timer_clear(&load->late_timer);
	task_clear(&load->changed);
	for (unsigned i = 0; i <= load->options.clients; i++)
		timer_clear(&load->clients[i].rest);
	free(load->clients);
}
