#include "faultvfs.h"

#include "base/list.h"
#include "base/rng.h"
#include "base/str.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>

enum { SECTOR = 512 };

// What happened to a file since its last sync. len < 0: truncated to `offset`.
struct pending {
	struct list link;
	int64_t offset, len;
	char bytes[];
};

struct fault_file {
	sqlite3_file base;
	struct list link;
	char *image; // the file as its users see it
	int64_t size, room;
	struct list pending;
	sqlite3_file *real;
};

static struct {
	pthread_mutex_t lock;
	struct list files;
	struct rng rng;
	uint64_t calls, syncs, cut_at, fail_at, limit;
	int fail_code;
	bool fail_for_good;
} fault = { .lock = PTHREAD_MUTEX_INITIALIZER };

static sqlite3_vfs vfs, *real_vfs;

// ---- what reaches the disk

static void apply(struct fault_file *f, const struct pending *p)
{
	int r = p->len < 0 ? f->real->pMethods->xTruncate(f->real, p->offset)
			   : f->real->pMethods->xWrite(f->real, p->bytes, (int)p->len, p->offset);
	assert(r == SQLITE_OK);
}

static void apply_some(struct fault_file *f, const struct pending *p)
{
	if (p->len < 0) {
		if (rng_below(&fault.rng, 2))
			apply(f, p);
		return;
	}
	for (int64_t at = p->offset; at < p->offset + p->len;) {
		int64_t next = (at / SECTOR + 1) * SECTOR;
		if (next > p->offset + p->len)
			next = p->offset + p->len;
		if (rng_below(&fault.rng, 2)) {
			int r = f->real->pMethods->xWrite(f->real, p->bytes + (at - p->offset), (int)(next - at), at);
			assert(r == SQLITE_OK);
		}
		at = next;
	}
}

// Three kinds of cut: nothing of what was not synced arrives, the beginning does, or some of all.
static void cut_locked(void)
{
	unsigned kind = (unsigned)rng_below(&fault.rng, 3);
	struct fault_file *f;
	LIST_EACH(f, &fault.files, link) {
		struct pending *p;
		bool still = kind != 0;
		LIST_EACH(p, &f->pending, link) {
			if (kind == 1 && rng_below(&fault.rng, 8) == 0)
				still = false;
			if (still && kind == 1)
				apply(f, p);
			else if (still)
				apply_some(f, p);
		}
	}
	_exit(0);
}

static void forget_pending(struct fault_file *f)
{
	while (!list_empty(&f->pending)) {
		struct pending *p = LIST_ENTRY(f->pending.next, struct pending, link);
		list_remove(&p->link);
		free(p);
	}
}

static void sync_locked(struct fault_file *f)
{
	struct pending *p;
	LIST_EACH(p, &f->pending, link)
		apply(f, p);
	forget_pending(f);
}

// Counts a call; SQLITE_OK or what it has to fail with.
static int next_call(void)
{
	fault.calls++;
	if (fault.cut_at && fault.calls >= fault.cut_at)
		cut_locked();
	bool due = fault.fail_at && (fault.fail_for_good ? fault.calls >= fault.fail_at : fault.calls == fault.fail_at);
	return due ? fault.fail_code : SQLITE_OK;
}

// ---- a file's methods

static struct fault_file *file_of(sqlite3_file *file)
{
	return CONTAINER_OF(file, struct fault_file, base);
}

static void resize(struct fault_file *f, int64_t size)
{
	if (size > f->room) {
		f->room = size > 2 * f->room ? size : 2 * f->room;
		f->image = xreallocarray(f->image, (size_t)f->room, 1);
	}
	if (size > f->size)
		memset(f->image + f->size, 0, (size_t)(size - f->size));
	f->size = size;
}

static void add_pending(struct fault_file *f, int64_t offset, int64_t len, const void *bytes)
{
	struct pending *p = xmalloc(sizeof(*p) + (len > 0 ? (size_t)len : 0));
	p->offset = offset;
	p->len = len;
	if (len > 0)
		memcpy(p->bytes, bytes, (size_t)len);
	list_append(&f->pending, &p->link);
}

static int file_close(sqlite3_file *file)
{
	struct fault_file *f = file_of(file);
	pthread_mutex_lock(&fault.lock);
	sync_locked(f);
	list_remove(&f->link);
	pthread_mutex_unlock(&fault.lock);
	free(f->image);
	int r = f->real->pMethods->xClose(f->real);
	free(f->real);
	return r;
}

static int file_read_at(sqlite3_file *file, void *bytes, int n, sqlite3_int64 offset)
{
	struct fault_file *f = file_of(file);
	pthread_mutex_lock(&fault.lock);
	int64_t have = f->size - offset;
	have = have < 0 ? 0 : have > n ? n : have;
	if (have)
		memcpy(bytes, f->image + offset, (size_t)have);
	memset((char *)bytes + have, 0, (size_t)(n - have));
	pthread_mutex_unlock(&fault.lock);
	return have == n ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static bool over_limit(const struct fault_file *grown, int64_t size)
{
	uint64_t all = 0;
	struct fault_file *f;
	LIST_EACH(f, &fault.files, link)
		all += (uint64_t)(f == grown && size > f->size ? size : f->size);
	return fault.limit && all > fault.limit && size > grown->size;
}

static int file_write_at(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 offset)
{
	struct fault_file *f = file_of(file);
	pthread_mutex_lock(&fault.lock);
	int r = next_call();
	if (r == SQLITE_OK && over_limit(f, offset + n))
		r = SQLITE_FULL;
	if (r == SQLITE_OK) {
		if (offset + n > f->size)
			resize(f, offset + n);
		memcpy(f->image + offset, bytes, (size_t)n);
		add_pending(f, offset, n, bytes);
	}
	pthread_mutex_unlock(&fault.lock);
	return r;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct fault_file *f = file_of(file);
	pthread_mutex_lock(&fault.lock);
	resize(f, size);
	add_pending(f, size, -1, NULL);
	pthread_mutex_unlock(&fault.lock);
	return SQLITE_OK;
}

static int file_sync(sqlite3_file *file, UNUSED int flags)
{
	pthread_mutex_lock(&fault.lock);
	int r = next_call();
	if (r == SQLITE_OK) {
		sync_locked(file_of(file));
		fault.syncs++;
	}
	pthread_mutex_unlock(&fault.lock);
	return r;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	*ret = file_of(file)->size;
	return SQLITE_OK;
}

static int file_lock(sqlite3_file *file, int level)
{
	struct fault_file *f = file_of(file);
	return f->real->pMethods->xLock(f->real, level);
}

static int file_unlock(sqlite3_file *file, int level)
{
	struct fault_file *f = file_of(file);
	return f->real->pMethods->xUnlock(f->real, level);
}

static int file_check_lock(sqlite3_file *file, int *ret)
{
	struct fault_file *f = file_of(file);
	return f->real->pMethods->xCheckReservedLock(f->real, ret);
}

static int file_control(UNUSED sqlite3_file *file, UNUSED int op, UNUSED void *arg)
{
	return SQLITE_NOTFOUND;
}

static int file_sector(UNUSED sqlite3_file *file)
{
	return SECTOR;
}

static int file_device(UNUSED sqlite3_file *file)
{
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

// ---- the VFS

static void load_image(struct fault_file *f)
{
	sqlite3_int64 size = 0;
	int r = f->real->pMethods->xFileSize(f->real, &size);
	assert(r == SQLITE_OK);
	resize(f, size);
	if (size)
		r = f->real->pMethods->xRead(f->real, f->image, (int)size, 0);
	assert(r == SQLITE_OK);
}

static int vfs_open(UNUSED sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	static const sqlite3_io_methods methods = {
		.iVersion = 1, // no shared memory: the store opens exclusively
		.xClose = file_close,
		.xRead = file_read_at,
		.xWrite = file_write_at,
		.xTruncate = file_truncate,
		.xSync = file_sync,
		.xFileSize = file_size,
		.xLock = file_lock,
		.xUnlock = file_unlock,
		.xCheckReservedLock = file_check_lock,
		.xFileControl = file_control,
		.xSectorSize = file_sector,
		.xDeviceCharacteristics = file_device,
	};
	struct fault_file *f = file_of(file);
	*f = (struct fault_file){ .real = xcalloc(1, (size_t)real_vfs->szOsFile) };
	int r = real_vfs->xOpen(real_vfs, name, f->real, flags, ret_flags);
	if (r != SQLITE_OK) {
		free(f->real);
		return r;
	}
	list_init(&f->pending);
	load_image(f);
	pthread_mutex_lock(&fault.lock);
	list_append(&fault.files, &f->link);
	pthread_mutex_unlock(&fault.lock);
	f->base.pMethods = &methods;
	return SQLITE_OK;
}

void faultvfs_register(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	vfs = *real_vfs; // whatever is not about open files goes to the system's
	vfs.pNext = NULL;
	vfs.zName = "fault";
	vfs.szOsFile = sizeof(struct fault_file);
	vfs.xOpen = vfs_open;
	list_init(&fault.files);
	int r = sqlite3_vfs_register(&vfs, 0);
	assert(r == SQLITE_OK);
}

void faultvfs_reset(uint64_t seed)
{
	pthread_mutex_lock(&fault.lock);
	fault.rng.state = seed;
	fault.calls = fault.syncs = fault.cut_at = fault.fail_at = fault.limit = 0;
	pthread_mutex_unlock(&fault.lock);
}

void faultvfs_cut(void)
{
	pthread_mutex_lock(&fault.lock);
	cut_locked();
}

void faultvfs_cut_at(uint64_t n)
{
	pthread_mutex_lock(&fault.lock);
	fault.cut_at = fault.calls + n;
	pthread_mutex_unlock(&fault.lock);
}

void faultvfs_fail_at(uint64_t n, int code, bool for_good)
{
	pthread_mutex_lock(&fault.lock);
	fault.fail_at = fault.calls + n;
	fault.fail_code = code;
	fault.fail_for_good = for_good;
	pthread_mutex_unlock(&fault.lock);
}

void faultvfs_limit(uint64_t bytes)
{
	pthread_mutex_lock(&fault.lock);
	fault.limit = bytes;
	pthread_mutex_unlock(&fault.lock);
}

uint64_t faultvfs_calls(void)
{
	pthread_mutex_lock(&fault.lock);
	uint64_t calls = fault.calls;
	pthread_mutex_unlock(&fault.lock);
	return calls;
}

uint64_t faultvfs_syncs(void)
{
	pthread_mutex_lock(&fault.lock);
	uint64_t syncs = fault.syncs;
	pthread_mutex_unlock(&fault.lock);
	return syncs;
}
