#include "router/limits.h"

#include "base/str.h"

#include <errno.h>
#include <stddef.h>

#define LIMIT_MAX_MS 604800000

static const struct {
	const char *name;
	size_t offset;
	uint32_t default_ms;
} table[] = {
	{ "head_ms", offsetof(struct limits, head_ms), 10000 },
	{ "idle_ms", offsetof(struct limits, idle_ms), 75000 },
	{ "body_ms", offsetof(struct limits, body_ms), 60000 },
	{ "connect_ms", offsetof(struct limits, connect_ms), 2000 },
	{ "answer_ms", offsetof(struct limits, answer_ms), 120000 },
	{ "transfer_ms", offsetof(struct limits, transfer_ms), 300000 },
	{ "tunnel_ms", offsetof(struct limits, tunnel_ms), 3600000 },
	{ "linger_ms", offsetof(struct limits, linger_ms), 2000 },
	{ "instance_idle_ms", offsetof(struct limits, instance_idle_ms), 50000 },
	{ "drain_ms", offsetof(struct limits, drain_ms), 30000 },
};

static uint32_t *limit_at(struct limits *limits, size_t n)
{
	return (uint32_t *)((char *)limits + table[n].offset);
}

static int no_such_limit(const char *name, struct err *err)
{
	const char *names[ARRAY_LEN(table)];
	for (size_t n = 0; n < ARRAY_LEN(table); n++)
		names[n] = table[n].name;
	const char *nearest = str_nearest(name, names, ARRAY_LEN(names));
	err_set(err, -EINVAL, LIMITS_VARIABLE ": there is no limit '%s'", name);
	if (nearest)
		return err_hint(err, "did you mean '%s'?", nearest);
	return err_hint(err, "docs/router.md lists them");
}

static int set_limit(const char *item, struct limits *limits, struct err *err)
{
	size_t len = strcspn(item, "=");
	AUTO_FREE char *name = xstrndup(item, len);
	size_t n = 0;
	while (n < ARRAY_LEN(table) && !str_eq(table[n].name, name))
		n++;
	if (n == ARRAY_LEN(table))
		return no_such_limit(name, err);
	uint64_t ms;
	if (!item[len] || parse_u64(item + len + 1, LIMIT_MAX_MS, &ms) < 0 || ms == 0) {
		err_set(err, -EINVAL, LIMITS_VARIABLE ": '%s' is no limit", item);
		return err_hint(err, "write %s=MILLISECONDS, from 1 to %d", name, LIMIT_MAX_MS);
	}
	*limit_at(limits, n) = (uint32_t)ms;
	return 0;
}

int limits_parse(const char *text, struct limits *ret, struct err *err)
{
	struct limits limits;
	for (size_t n = 0; n < ARRAY_LEN(table); n++)
		*limit_at(&limits, n) = table[n].default_ms;
	while (!str_empty(text)) {
		size_t len = strcspn(text, ",");
		AUTO_FREE char *item = xstrndup(text, len);
		int r = set_limit(item, &limits, err);
		if (r < 0)
			return r;
		text += len + (text[len] == ',');
	}
	*ret = limits;
	return 0;
}
