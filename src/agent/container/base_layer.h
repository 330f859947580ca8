// The layer on top of all others: the places where crun mounts something, so that no artifact can put a link there, and
// the init. Shared by all instances.
#pragma once

#include "base/err.h"

// Makes DIR/DIGEST-OF-INIT unless it is there. The caller frees *ret_path.
int base_layer_make(const char *dir, char **ret_path, struct err *err);
