// An instance's bundle on disk: DIR/bundle with config.json, the mount points rootfs/, parts/ (see layers_mount) and
// scratch/, and top/, the instance's own layer with etc/hosts, etc/hostname and etc/resolv.conf.
#pragma once

#include "agent/container/host.h"

struct bundle {
	char *path, *rootfs, *parts, *scratch, *top;
};

void bundle_init(struct bundle *bundle, const char *dir);
void bundle_clear(struct bundle *bundle);

int bundle_write(const struct bundle *bundle, const struct container_host *host, const struct container_spec *spec,
		 struct err *err);
int bundle_mount(const struct bundle *bundle, const struct container_host *host, const struct container_spec *spec,
		 struct err *err);
int bundle_unmount(const struct bundle *bundle, struct err *err);
int bundle_remove(const struct bundle *bundle, struct err *err);
