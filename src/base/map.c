#include "base/map.h"

#include "base/str.h"

#include <assert.h>

uint64_t hash_bytes(const void *bytes, size_t n)
{
	const unsigned char *b = bytes;
	uint64_t h = 0xcbf29ce484222325;
	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93;
	return h ^ (h >> 32);
}

void map_clear(struct map *m)
{
	for (size_t i = 0; i < m->size; i++)
		free(m->slots[i].key);
	free(m->slots);
	*m = (struct map){ 0 };
}

// The slot that holds key, or the empty one where it would go.
static struct map_slot *find(const struct map *m, const char *key, uint64_t hash)
{
	for (size_t i = hash & (m->size - 1);; i = (i + 1) & (m->size - 1)) {
		struct map_slot *s = &m->slots[i];
		if (!s->key || (s->hash == hash && strcmp(s->key, key) == 0))
			return s;
	}
}

void *map_get(const struct map *m, const char *key)
{
	if (!m->count)
		return NULL;
	return find(m, key, hash_bytes(key, strlen(key)))->value;
}

static void grow(struct map *m)
{
	struct map old = *m;
	m->size = old.size ? old.size * 2 : 8;
	m->slots = xcalloc(m->size, sizeof(*m->slots));
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i].key)
			*find(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
	free(old.slots);
}

void *map_set(struct map *m, const char *key, void *value)
{
	assert(value);
	if (4 * (m->count + 1) > 3 * m->size)
		grow(m);
	uint64_t hash = hash_bytes(key, strlen(key));
	struct map_slot *s = find(m, key, hash);
	void *before = s->value;
	if (!s->key) {
		s->key = xstrdup(key);
		s->hash = hash;
		m->count++;
	}
	s->value = value;
	return before;
}

void *map_remove(struct map *m, const char *key)
{
	if (!m->count)
		return NULL;
	struct map_slot *s = find(m, key, hash_bytes(key, strlen(key)));
	if (!s->key)
		return NULL;
	void *value = s->value;
	free(s->key);
	*s = (struct map_slot){ 0 };
	m->count--;

	// Close the gap: move back every follower of the run whose home is not after the hole (Knuth, 6.4, algorithm R).
	size_t mask = m->size - 1, hole = (size_t)(s - m->slots);
	for (size_t i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			m->slots[i] = (struct map_slot){ 0 };
			hole = i;
		}
	}
	return value;
}

bool map_next(const struct map *m, size_t *at, const char **ret_key, void **ret_value)
{
	for (; *at < m->size; (*at)++) {
		if (!m->slots[*at].key)
			continue;
		if (ret_key)
			*ret_key = m->slots[*at].key;
		if (ret_value)
			*ret_value = m->slots[*at].value;
		(*at)++;
		return true;
	}
	return false;
}
