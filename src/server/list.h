// Lists: at most `limit` items a page, and a cursor for the next one.
#pragma once

#include "server/route.h"
#include "store/store.h"

enum { LIST_LIMIT = 100, LIST_LIMIT_MAX = 1000 };

extern const struct route_query list_queries[];

// {items, next}: items is stolen; next NULL: the end.
void list_answer(struct request *rq, json_t *items, const char *next);

// The same for lists in the order of names: last is the name that the page ends with, NULL when it is the last page.
void list_answer_names(struct request *rq, json_t *items, const char *last);

// What a request asks for of a list.
struct list_page {
	size_t limit;
	char *cursor; // NULL: the first page
};
int list_page_read(struct request *rq, struct list_page *ret); // answers 400 and returns a negative errno for nonsense
int list_page_read_names(struct request *rq, struct list_page *ret); // cursor: the name that the page before ended with
void list_page_clear(struct list_page *page);
#define AUTO_LIST_PAGE CLEANUP(list_page_clear)

// Records below prefix, whose keys end in a number, greatest first: item makes one answer of each (NULL: left out).
// Only those created at or after this revision count.
void list_newest_first(struct request *rq, const char *prefix, uint64_t created,
		       json_t *(*item)(const struct record *record, const void *arg), const void *arg);
