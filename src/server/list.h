// Lists: at most `limit` items a page, and a cursor for the next one.
#pragma once

#include "server/route.h"
#include "store/store.h"

enum { LIST_LIMIT = 100, LIST_LIMIT_MAX = 1000 };

extern const struct route_query list_queries[];

// {items, next}: items is stolen; next NULL: the end.
void list_answer(struct request *rq, json_t *items, const char *next);

// Records below prefix, by key: item makes one answer of each (NULL: left out). Only those created at or after this
// revision count. The cursor is what follows prefix in the last key.
void list_records(struct request *rq, const char *prefix, uint64_t created,
		  json_t *(*item)(const struct record *record));

// The same for keys that end in a number, greatest first.
void list_newest_first(struct request *rq, const char *prefix, uint64_t created,
		       json_t *(*item)(const struct record *record));
