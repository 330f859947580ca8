// Private to src/model: what a spec gets that nobody wrote.
#pragma once

#include "model/manifest.h"

#define PORT_UNSET UINT32_MAX // until the process's name is known

void process_settle_port(struct process *process);

// Sorts the processes and adds web if there is none; gives web its route, unless routes were given. The processes are
// finished already or this finishes the one it adds.
void spec_settle(struct spec *spec, bool routes_given);

// The name that the source forces or falls back to; -EINVAL when there is none at all, or one that is no label.
int spec_settle_name(struct spec *spec, const struct manifest_source *source, struct err *err);
