// Room on the disk of DATA that is held back, so that what crashes while the disk is full can be started again. Any thread.
#pragma once

#include <stdbool.h>

// Takes it when there is room; asked for often, it costs a stat. Blocks.
void reserve_keep(const char *data);

// Whether the disk is full. Then the reserve is given up: whoever failed for want of room tries again at once.
bool reserve_give(const char *data);
