// What a keeper is after `down` while containers run on: no parts, no listening socket; it drains output, reaps and
// writes exit records, and ends with the last of them.
#pragma once

#include "keeper/private.h"

// The parts have ended: holds if a watched process lives, else stops the loop.
void hold(struct keeper *k);

// A watched process ended.
void hold_ended(struct keeper *k);

// KEEPER_RESUME: becomes the program that the file names. Returns only when that failed; it goes on holding then.
int hold_resume(struct keeper *k, int fd);

// Descriptors above KEEPER_LISTEN_FD; to be called before any is opened.
void inherited_find(struct inherited *ret);
void inherited_close(struct inherited *inherited);

// SIGTERM and SIGINT, which would end a program that does not catch them yet.
void hold_signals(int how);
