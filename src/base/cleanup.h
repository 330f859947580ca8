// Ownership on the stack: locals that clean up after themselves, and ways to hand ownership on.
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define AUTO_FREE CLEANUP(cleanup_free)
#define AUTO_CLOSE CLEANUP(cleanup_close)
#define AUTO_FCLOSE CLEANUP(cleanup_fclose)

// Hand the value on and leave nothing behind for the cleanup to release.
#define TAKE_PTR(p)                      \
	({                               \
		__auto_type taken_ = (p); \
		(p) = NULL;              \
		taken_;                  \
	})

#define TAKE_FD(fd)               \
	({                        \
		int taken_ = (fd); \
		(fd) = -1;        \
		taken_;           \
	})
