// A backup's records into a log of their own.
#include "base/str.h"
#include "store/record.h"
#include "store/revlog_private.h"

#include <errno.h>

enum { FILL_ROWS = 4096 };

static int by_row(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;
	if (row_id(x) != row_id(y))
		return row_id(x) < row_id(y) ? -1 : 1;
	return strcmp(record_key(x), record_key(y));
}

// How many rows from the i-th on have its revision.
static size_t same_revision(struct record *const *rows, size_t i, size_t n)
{
	size_t end = i + 1;
	while (end < n && rows[end]->mod_revision == rows[i]->mod_revision)
		end++;
	return end - i;
}

// Its place in its transaction, which not every driver knows, made unique. Records are shared: a copy.
static struct record *with_index(struct record *r, uint8_t index)
{
	if (r->index == index)
		return record_ref(r);
	struct record *copy = record_new(record_key(r), r->key_len, record_value(r), r->value_len);
	copy->create_revision = r->create_revision;
	copy->mod_revision = r->mod_revision;
	copy->version = r->version;
	copy->operation = r->operation;
	copy->index = index;
	return copy;
}

static int write_rows(struct revlog *log, struct batch *batch, struct err *err)
{
	revlog_write(log, batch);
	if (batch->result != STORE_OK) {
		if (batch->result == STORE_NO_SPACE)
			err_set(err, -ENOSPC, "'%s': no space left on its disk", log->path);
		else if (err)
			*err = batch->err;
		return batch->result == STORE_NO_SPACE ? -ENOSPC : batch->err.code;
	}
	return revlog_checkpoint(log, err);
}

static int fill(struct revlog *log, struct record *const *rows, size_t n, uint64_t compacted, struct err *err)
{
	struct record *part[FILL_ROWS + 128];
	uint8_t ops[FILL_ROWS + 128];
	struct batch batch = { .rows = part, .row_ops = ops, .compact_to = compacted };
	int r = 0;
	for (size_t i = 0; r == 0 && (i < n || i == 0);) {
		batch.n_rows = 0;
		while (i < n && batch.n_rows < FILL_ROWS) {
			size_t same = same_revision(rows, i, n);
			if (same > 128)
				return err_set(err, -EOVERFLOW, "revision %llu has %zu records, which is more than 128",
					       (unsigned long long)rows[i]->mod_revision, same);
			for (size_t k = 0; k < same; k++, i++) {
				ops[batch.n_rows] = (uint8_t)same;
				part[batch.n_rows++] = with_index(rows[i], (uint8_t)k);
			}
		}
		r = write_rows(log, &batch, err);
		for (size_t k = 0; k < batch.n_rows; k++)
			record_unref(part[k]);
		i += n == 0;
	}
	return r;
}

int revlog_fill(struct revlog *log, const struct backup *backup, uint64_t after, struct err *err)
{
	AUTO_FREE struct record **rows = xreallocarray(NULL, backup->count ? backup->count : 1, sizeof(*rows));
	if (backup->count) {
		memcpy(rows, backup->records, backup->count * sizeof(*rows));
		qsort(rows, backup->count, sizeof(*rows), by_row);
	}
	// History before that is not there: revisions may have gaps up to it.
	uint64_t compacted = backup->revision > after ? backup->revision : after;
	return fill(log, rows, backup->count, compacted, err);
}
