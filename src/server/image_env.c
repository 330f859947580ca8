#include "server/image_env.h"

#include "base/str.h"

void pairs_set(struct pair **pairs, uint32_t *count, const char *name, const char *value)
{
	uint32_t at = 0;
	while (at < *count && strcmp((*pairs)[at].name, name) < 0)
		at++;
	if (at < *count && str_eq((*pairs)[at].name, name)) {
		free((*pairs)[at].value);
		(*pairs)[at].value = xstrdup(value);
		return;
	}
	*pairs = xreallocarray(*pairs, *count + 1, sizeof(**pairs));
	memmove(&(*pairs)[at + 1], &(*pairs)[at], (*count - at) * sizeof(**pairs));
	(*pairs)[at] = (struct pair){ xstrdup(name), xstrdup(value) };
	(*count)++;
}

void pairs_free(struct pair *pairs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		free(pairs[i].name);
		free(pairs[i].value);
	}
	free(pairs);
}
