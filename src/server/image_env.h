// Sorted lists of names and values, put together from what stacks and runtimes say.
#pragma once

#include "model/fields.h"

void pairs_set(struct pair **pairs, uint32_t *count, const char *name, const char *value); // keeps the order
void pairs_free(struct pair *pairs, uint32_t count);
