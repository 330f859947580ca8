// Which ids of the machine an instance's user namespace has: 1024 of them, found from its address alone, so that no two
// instances of a node share one and nothing has to be remembered. Inside, 0 to 1021, the instance's own user and group,
// and 65534 exist.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define IDENTITY_RANGE 1024
#define IDENTITY_MIN_ADDRESS_BITS 0x1000 // of the low 22 bits: keeps the ranges clear of the machine's own users
#define IDENTITY_EXTENTS 3

struct identity_extent {
	uint32_t inside, outside, count;
};

// First id of the machine that belongs to this address.
uint32_t identity_base(uint32_t address);

// The mapping for a user (or group) id that must exist inside. Returns how many extents it has.
unsigned identity_map(uint32_t base, uint32_t id, struct identity_extent extents[IDENTITY_EXTENTS]);

// What an id inside is on the machine; UINT32_MAX when it does not exist.
uint32_t identity_outside(uint32_t base, uint32_t id, uint32_t inside);

// A user namespace that has the mapping and no process, to be named in mount_setattr(2). A descriptor, or a negative
// errno.
int identity_userns_open(uint32_t base, uint32_t uid, uint32_t gid);

// What ids inside a running process's user namespace are on the machine. -ERANGE when they do not exist there.
int identity_of_process(pid_t pid, uint32_t uid, uint32_t gid, uint32_t *ret_uid, uint32_t *ret_gid);
