// Room held back on a store's disk by a file of zeros: given up when the disk is full, so that deletes and compaction
// go on, and taken again as soon as there is room.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ballast {
	char *path;
	uint64_t bytes; // held; 0: given up, or there was no room
};

void ballast_init(struct ballast *ballast, const char *dir); // takes no room yet
void ballast_clear(struct ballast *ballast);                 // the file stays. Zeroed is fine

// 4 MiB, or a sixth of a small disk, when twice as much is free. False: it is not.
bool ballast_take(struct ballast *ballast);
void ballast_give(struct ballast *ballast);
