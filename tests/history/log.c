#include "log.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(sizeof(struct entry) == 64, "logs are read by other processes");

uint32_t key_of(const char *text)
{
	unsigned group, key;
	if (sscanf(text, "h/%2u/%2u", &group, &key) == 2 && group < GROUPS && key < GROUP_KEYS)
		return group * GROUP_KEYS + key;
	uint32_t hash = 2166136261u;
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash | KEY_HELD;
}

void key_text(uint32_t key, char text[KEY_TEXT])
{
	if (key & KEY_HELD)
		snprintf(text, KEY_TEXT, "(held %x)", key & ~KEY_HELD);
	else
		snprintf(text, KEY_TEXT, "h/%02u/%02u", key / GROUP_KEYS, key % GROUP_KEYS);
}

void value_write(uint64_t value, char *bytes, size_t len)
{
	char text[17];
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
	memcpy(bytes, text, 16);
	memset(bytes + 16, text[15], len - 16);
}

uint64_t value_read(uint32_t key, const char *bytes, size_t len)
{
	uint64_t value = 0;
	if (key & KEY_HELD) {
		for (size_t i = 0; i < len; i++)
			value = (value ^ (uint8_t)bytes[i]) * 1099511628211u;
		return value | 1;
	}
	char text[17] = "";
	memcpy(text, bytes, len < 16 ? len : 16);
	value = strtoull(text, NULL, 16);
	for (size_t i = 16; i < len; i++)
		if (bytes[i] != text[15])
			return 0;
	return len < 16 ? 0 : value;
}

// ---- log

static int map(struct log *log, const char *path, int flags, int sharing, struct err *err)
{
	AUTO_CLOSE int fd = open(path, flags | O_CLOEXEC, 0600);
	struct stat st = { 0 };
	if (fd < 0 || (flags & O_CREAT && ftruncate(fd, LOG_BYTES_MAX) < 0) || fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot open '%s'", path);
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, sharing, fd, 0);
	if (p == MAP_FAILED)
		return err_set(err, -errno, "cannot map '%s' (%lld bytes)", path, (long long)st.st_size);
	*log = (struct log){ .entries = p, .size = (size_t)st.st_size };
	return 0;
}

int log_create(struct log *log, const char *path, struct err *err)
{
	return map(log, path, O_RDWR | O_CREAT | O_EXCL, MAP_SHARED, err);
}

int log_open(struct log *log, const char *path, struct err *err)
{
	int r = map(log, path, O_RDONLY, MAP_PRIVATE, err);
	if (r < 0)
		return r;
	while ((log->n + 1) * sizeof(struct entry) <= log->size && log->entries[log->n].type != ENTRY_NONE)
		log->n++;
	return 0;
}

void log_close(struct log *log)
{
	if (log->entries)
		munmap(log->entries, log->size);
	*log = (struct log){ 0 };
}

struct entry *log_add(struct log *log, struct entry entry)
{
	assert((log->n + 1) * sizeof(entry) <= log->size);
	struct entry *e = &log->entries[log->n++];
	uint8_t type = entry.type;
	entry.type = ENTRY_NONE;
	entry.time_ns = monotonic_ns();
	*e = entry;
	__atomic_store_n(&e->type, type, __ATOMIC_RELEASE); // whole, whenever the process dies
	return e;
}

void log_record(struct log *log, struct entry head, const struct record *record)
{
	if (record) {
		head.key = key_of(record_key(record));
		head.create = record->create_revision;
		head.mod = record->mod_revision;
		head.version = record->version;
		head.index = record->index;
		head.deleted = record->deleted;
		head.value = record->deleted ? 0 : value_read(head.key, record_value(record), record->value_len);
	}
	log_add(log, head);
}

void log_shrink(struct log *log, const char *path)
{
	if (truncate(path, (off_t)(log->n * sizeof(struct entry))) < 0)
		perror(path);
}
