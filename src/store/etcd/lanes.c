#include "store/etcd/lanes.h"

#include "base/str.h"

#include <assert.h>

struct lane {
	char *key;
	size_t sharing; // granted and not exclusive
	bool taken;     // granted exclusively
	struct list waiting;
};

struct named {
	const char *key;
	bool exclusive;
};

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int c = strcmp(x->key, y->key);
	return c ? c : y->exclusive - x->exclusive; // of equal ones the exclusive first
}

static size_t name_keys(const struct store_txn *txn, struct named *keys)
{
	size_t n = 0, unique = 0;
	for (size_t i = 0; i < txn->n_ops; i++)
		keys[n++] = (struct named){ record_key(txn->ops[i]), true };
	for (size_t i = 0; i < txn->n_compares; i++)
		keys[n++] = (struct named){ txn->compares[i].key, false };
	qsort(keys, n, sizeof(keys[0]), compare_named);
	for (size_t i = 0; i < n; i++)
		if (!unique || strcmp(keys[unique - 1].key, keys[i].key) != 0)
			keys[unique++] = keys[i];
	return unique;
}

static bool grant(struct lane *lane, bool exclusive)
{
	if (lane->taken || (exclusive && lane->sharing))
		return false;
	lane->taken = exclusive;
	lane->sharing += !exclusive;
	return true;
}

static struct lane *lane_of(struct map *lanes, const char *key)
{
	struct lane *lane = map_get(lanes, key);
	if (lane)
		return lane;
	lane = xcalloc(1, sizeof(*lane));
	lane->key = xstrdup(key);
	list_init(&lane->waiting);
	map_set(lanes, key, lane);
	return lane;
}

bool lanes_enter(struct map *lanes, struct lane_holder *holder, const struct store_txn *txn)
{
	struct named keys[2 * STORE_TXN_OPS];
	size_t n = name_keys(txn, keys);
	holder->places = xcalloc(n ? n : 1, sizeof(holder->places[0]));
	holder->n_places = n;
	holder->blockers = 0;
	for (size_t i = 0; i < n; i++) {
		struct lane_place *p = &holder->places[i];
		*p = (struct lane_place){ .lane = lane_of(lanes, keys[i].key),
					  .holder = holder,
					  .exclusive = keys[i].exclusive };
		list_init(&p->link);
		if (list_empty(&p->lane->waiting) && grant(p->lane, p->exclusive))
			continue;
		list_append(&p->lane->waiting, &p->link);
		holder->blockers++;
	}
	return holder->blockers == 0;
}

static void grant_waiting(struct lane *lane)
{
	while (!list_empty(&lane->waiting)) {
		struct lane_place *p = LIST_ENTRY(lane->waiting.next, struct lane_place, link);
		if (!grant(lane, p->exclusive))
			return;
		list_remove(&p->link);
		if (--p->holder->blockers == 0)
			p->holder->granted(p->holder);
	}
}

static void leave(struct map *lanes, struct lane_place *p)
{
	struct lane *lane = p->lane;
	if (!list_empty(&p->link))
		list_remove(&p->link);
	else if (p->exclusive)
		lane->taken = false;
	else
		lane->sharing--;
	grant_waiting(lane);
	if (lane->taken || lane->sharing)
		return;
	assert(list_empty(&lane->waiting));
	map_remove(lanes, lane->key);
	free(lane->key);
	free(lane);
}

void lanes_leave(struct map *lanes, struct lane_holder *holder)
{
	for (size_t i = 0; i < holder->n_places; i++)
		leave(lanes, &holder->places[i]);
	free(TAKE_PTR(holder->places));
	holder->n_places = 0;
}
