#include "store/history.h"

#include "base/str.h"

#include <assert.h>

void store_history_init(struct history *h)
{
	*h = (struct history){ .keep_rows = HISTORY_ROWS, .keep_bytes = HISTORY_BYTES };
}

void store_history_clear(struct history *h)
{
	free(h->rows);
	*h = (struct history){ 0 };
}

static struct past_row *at(const struct history *h, uint64_t position)
{
	return &h->rows[position & (h->room - 1)];
}

static void grow(struct history *h)
{
	struct history bigger = *h;
	bigger.room = h->room ? 2 * h->room : 64;
	bigger.rows = xreallocarray(NULL, bigger.room, sizeof(*bigger.rows));
	for (uint64_t i = h->first; i < h->next; i++)
		*at(&bigger, i) = *at(h, i);
	free(h->rows);
	*h = bigger;
}

void store_history_add(struct history *h, uint64_t row, uint64_t by, uint64_t bytes)
{
	if (h->next - h->first == h->room)
		grow(h);
	assert(h->first == h->next || at(h, h->next - 1)->by <= by);
	*at(h, h->next++) = (struct past_row){ .row = row, .by = by, .bytes = bytes };
	h->bytes += bytes;
}

void store_history_mark(struct history *h, uint64_t revision)
{
	if (h->n_marks == HISTORY_MARKS)
		memmove(h->marks, h->marks + 1, --h->n_marks * sizeof(h->marks[0]));
	h->marks[h->n_marks++] = revision;
}

uint64_t store_history_limit(const struct history *h)
{
	uint64_t limit = h->n_marks == HISTORY_MARKS ? h->marks[0] : 0;
	uint64_t over = h->first, bytes = h->bytes;
	while (over < h->next && (h->next - over > h->keep_rows || bytes > h->keep_bytes))
		bytes -= at(h, over++)->bytes;
	if (over > h->first && at(h, over - 1)->by > limit)
		limit = at(h, over - 1)->by;
	return limit;
}

size_t store_history_oldest(const struct history *h, uint64_t limit, size_t max, struct past_row *ret)
{
	size_t n = 0;
	while (n < max && h->first + n < h->next && at(h, h->first + n)->by <= limit) {
		ret[n] = *at(h, h->first + n);
		n++;
	}
	return n;
}

void store_history_drop(struct history *h, size_t n)
{
	assert(n <= h->next - h->first);
	while (n--)
		h->bytes -= at(h, h->first++)->bytes;
}
