// An instance's writable place on disk: an ext4 file system of its own, in a sparse file of its own, on a loop device
// of its own. So its size is a bound, what an application writes there is page cache that the kernel takes back instead
// of memory that the instance has used up, and every start finds it empty.
//
// Nothing has to be taken back after a crash: the file loses its name before the file system is mounted, and the loop
// device detaches itself with the last mount. Both are gone when the container is, whoever was killed meanwhile, and no
// file can be mounted a second time.
#pragma once

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

// What an instance's file system has at its top.
#define SCRATCH_TMP "tmp" // mode 1777
#define SCRATCH_RUN "run" // mode 755, the application's own

// Makes the folder, empty, in which a file system of each size is kept to copy from, and mounts one for a moment. The
// error says what this machine lacks.
int scratch_open(const char *folder, struct err *err);

struct scratch_owner {
	uid_t root, uid; // as the machine sees them: of tmp, of run
	gid_t root_group, gid;
};

// A fresh file system with room for bytes, mounted at target (an existing directory). image: a path for its file, which
// must lie on the file system of the folder; nothing is there afterwards.
int scratch_mount(const char *folder, const char *image, uint64_t bytes, const struct scratch_owner *owner,
		  const char *target, struct err *err);

// Waits until no loop device has a file below this folder any more: the kernel takes the last steps of an unmount on
// its own, and may have much to write. -EBUSY after half a minute.
int scratch_wait_gone(const char *folder, struct err *err);
