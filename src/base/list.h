// Intrusive doubly linked lists with a sentinel head.
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

// True for an empty head, and for a link that is on no list (after list_init or list_remove).
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void list_prepend(struct list *head, struct list *l)
{
	list_append(head->next, l);
}

static inline void list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

#define LIST_ENTRY(link, type, member) CONTAINER_OF(link, type, member)

// The current entry may be removed or freed inside the loop.
#define LIST_EACH(var, head, member)                                                                    \
	for (__typeof__(var) var##_next_ = ((var) = CONTAINER_OF((head)->next, __typeof__(*(var)), member), \
					    CONTAINER_OF((var)->member.next, __typeof__(*(var)), member)); \
	     &(var)->member != (head);                                                                  \
	     (var) = var##_next_, var##_next_ = CONTAINER_OF((var)->member.next, __typeof__(*(var)), member))
