#include "server/list.h"

#include "base/str.h"
#include "server/core.h"
#include "server/route.h"

#include <errno.h>

const struct route_query list_queries[] = {
	{ "limit", "integer", "items a page: 1 to 1000, 100 unless said" },
	{ "cursor", "string", "`next` of the page before" },
	{},
};

void list_answer(struct request *rq, json_t *items, const char *next)
{
	reply_json(rq, 200, json_pack("{s:o, s:s?}", "items", items, "next", next));
}

void list_page_clear(struct list_page *page)
{
	free(page->cursor);
	*page = (struct list_page){};
}

int list_page_read(struct request *rq, struct list_page *ret)
{
	uint64_t limit;
	int r = request_query_u64(rq, "limit", 1, LIST_LIMIT_MAX, LIST_LIMIT, &limit);
	if (r < 0)
		return r;
	*ret = (struct list_page){ .limit = limit, .cursor = request_query(rq, "cursor") };
	return 0;
}

// Marks the cursors of lists by name, so that any other text is seen to be none.
static const char after[] = "after.";

void list_answer_names(struct request *rq, json_t *items, const char *last)
{
	AUTO_FREE char *next = last ? xasprintf("%s%s", after, last) : NULL;
	list_answer(rq, items, next);
}

int list_page_read_names(struct request *rq, struct list_page *ret)
{
	AUTO_LIST_PAGE struct list_page page = {};
	int r = list_page_read(rq, &page);
	if (r < 0)
		return r;
	if (page.cursor && !str_starts(page.cursor, after)) {
		struct err err = {};
		r = err_set(&err, -EINVAL, "query parameter 'cursor' is not the `next` of a page of this list");
		reply_problem(rq, 400, "cursor", &err);
		return r;
	}
	*ret = (struct list_page){ .limit = page.limit,
				   .cursor = page.cursor ? xstrdup(page.cursor + strlen(after)) : NULL };
	return 0;
}

static void add_item(json_t *items, const struct record *record, uint64_t created,
		     json_t *(*item)(const struct record *record, const void *arg), const void *arg)
{
	json_t *json = record->create_revision >= created ? item(record, arg) : NULL;
	if (json)
		json_array_append_new(items, json);
}

// The place of the first record at or beyond number `cursor`, or the end.
static size_t find_end(const struct store_list *all, size_t prefix_len, uint64_t cursor)
{
	size_t low = 0, high = all->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (strtoull(record_key(all->records[middle]) + prefix_len, NULL, 10) < cursor)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void list_newest_first(struct request *rq, const char *prefix, uint64_t created,
		       json_t *(*item)(const struct record *record, const void *arg), const void *arg)
{
	AUTO_LIST_PAGE struct list_page page = {};
	uint64_t cursor;
	if (list_page_read(rq, &page) < 0 || request_query_u64(rq, "cursor", 0, INT64_MAX, INT64_MAX, &cursor) < 0)
		return;
	AUTO_STORE_LIST struct store_list all = {};
	store_list(rq->server->store, prefix, NULL, SIZE_MAX, &all); // bounded by whoever writes below this prefix
	json_t *items = json_array();
	size_t i = find_end(&all, strlen(prefix), cursor);
	for (; i > 0 && json_array_size(items) < page.limit; i--)
		add_item(items, all.records[i - 1], created, item, arg);
	list_answer(rq, items, i > 0 ? record_key(all.records[i]) + strlen(prefix) : NULL);
}

uint64_t store_first_number(struct store *store, const char *prefix)
{
	const struct record *r = store_next(store, prefix, NULL);
	return r ? strtoull(record_key(r) + strlen(prefix), NULL, 10) : 0;
}

uint64_t store_last_number(struct store *store, const char *prefix)
{
	uint64_t last = 0;
	const struct record *r = NULL;
	while ((r = store_next(store, prefix, r ? record_key(r) : NULL)))
		last = strtoull(record_key(r) + strlen(prefix), NULL, 10);
	return last;
}
