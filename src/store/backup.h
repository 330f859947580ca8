// A backup: everything that a store holds at one revision, and the file that it is kept in. It leaves out what stands
// for a living process: v1/leader, v1/servers/NAME (see store_hold_start).
//
// The file, all numbers little-endian, checksums CRC-32C:
//
//	header   128 bytes: "DTBACKUP", u32 format (1), u32 bytes of the header, u64 revision, u64 records,
//	         u64 unix time in ms, then texts padded with NULs: platform (40), epoch (28), driver (16); u32 checksum
//of 	         all before it 	records  in order of their keys, each: u32 length of the body, u32 checksum of its number (u64, from
//0) and body; 	         body: u64 create revision, u64 modified revision, u64 version, u64 operation, u8 index, u8 0, 	         u16 length
//of the key, key, value 	end      16 bytes: u32 0, u64 records, u32 checksum of everything before the end
//
// So a byte that changed, a record that is missing, twice or moved, and a file that stops early are all found.
#pragma once

#include "base/id.h"
#include "store/store.h"

struct backup {
	char platform[40];
	char driver[16];
	char epoch[28];
	uint64_t revision;
	uint64_t created_ms;
	size_t count;
	struct record **records; // references, in order of their keys
};

// What the store holds at this moment; it stays as it is however the store goes on. platform: its id.
void backup_take(const struct store *store, const char *platform, struct backup *ret);
void backup_clear(struct backup *backup); // zeroed is fine
#define AUTO_BACKUP CLEANUP(backup_clear)

// The first difference between what is in a backup and what the store holds: keys and values. -EUCLEAN, and which key.
int backup_compare(const struct backup *backup, const struct store *store, struct err *err);

// The file as a stream of bytes. The stream takes the backup over.
struct backup_stream;
struct backup_stream *backup_stream_new(struct backup *backup);
size_t backup_stream_read(struct backup_stream *stream, void *bytes, size_t size); // 0: the end
void backup_stream_free(struct backup_stream *stream);                             // NULL is fine

// A file under a temporary name beside path, which nobody else may read. backup_file_end makes it durable and gives it
// its name, over what had it before; backup_file_abort leaves nothing behind, also after the end.
struct backup_file {
	char *path, *temp; // NULL: not open
	int fd;
	uint64_t bytes;
};

int backup_file_begin(struct backup_file *file, const char *path, struct err *err);
int backup_file_write(struct backup_file *file, const void *bytes, size_t n, struct err *err);
int backup_file_end(struct backup_file *file, struct err *err);
void backup_file_abort(struct backup_file *file); // zeroed is fine

// All of the above. Takes the backup over.
int backup_write(struct backup *backup, const char *path, uint64_t *ret_bytes, struct err *err);

// Reads and checks all of a file before anything of it is used. -EUCLEAN: not whole or damaged, and where. -EPROTO: of
// a version of the format that this program does not know.
int backup_read(const char *path, struct backup *ret, struct err *err);

// ---- restoring: everything in the target is replaced by what the backup holds, under a new epoch. All block.

struct restore_options {
	bool replace; // also over what is there; without it: -EEXIST
	// Where revisions cannot be kept, several changes may come to share one, so that what was written before
	// something else is still written before it or with it. Never so below this prefix: what was written before a
	// record there gets a smaller revision. NULL: none.
	const char *orders;
};

// Makes the store in folder dir, with all revisions as they were. Built and checked beside it as DIR.restoring, then
// put in its place at once; what was there stays as DIR.before-restore. -EBUSY: a server has it open.
int store_restore_sqlite(const char *dir, const struct backup *backup, const struct restore_options *options,
			 struct err *err);

struct loop;
struct store_etcd_options;

// Into etcd, which gives revisions of its own. While it goes on, servers that use it read what they had, and each of
// their transactions is answered STORE_EPOCH_CHANGED; afterwards they list again. Broken off in the middle, the store
// stays closed, and says so, until it is restored again.
int store_restore_etcd(struct loop *loop, const char *url, const struct store_etcd_options *etcd,
		       const struct backup *backup, const struct restore_options *options, struct err *err);
