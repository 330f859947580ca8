#include "agent/container/host.h"

#include "agent/container/base_layer.h"
#include "agent/container/crun.h"
#include "agent/container/identity.h"
#include "agent/container/layers.h"
#include "agent/container/scratch.h"
#include "agent/container/syscalls.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <sys/resource.h>

enum { PLATFORM_MAX = 8, FILES_LIMIT = 65536 };

static int check_config(const struct container_host_config *config, struct link_net *ret_net, struct err *err)
{
	size_t length = strlen(config->platform);
	if (length < 1 || length > PLATFORM_MAX ||
	    strspn(config->platform, "abcdefghijklmnopqrstuvwxyz0123456789") != length)
		return err_set(err, -EINVAL, "platform id '%s' is not 1 to 8 of a-z and 0-9", config->platform);

	struct addresses addresses = { 0 };
	int r = addresses_init(&addresses, config->subnet, err);
	if (r < 0)
		return r;
	uint32_t bits = addresses.network & 0x3fffff;
	*ret_net = (struct link_net){ .gateway = addresses_gateway(&addresses), .prefix = addresses.prefix };
	addresses_clear(&addresses);
	if (bits < IDENTITY_MIN_ADDRESS_BITS) {
		err_set(err, -EINVAL, "subnet %s leaves no room for the instances' user ids", config->subnet);
		return err_hint(err, "use one whose last 22 bits are 0.16.0 or more, such as 100.64.16.0/20");
	}
	return 0;
}

// Raising the limit of descriptors may not be ours to do; a container then has what this process has.
static uint64_t files_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max == RLIM_INFINITY || limit.rlim_max > FILES_LIMIT)
		return FILES_LIMIT;
	return limit.rlim_max;
}

static int open_folders(struct container_host *host, const char *data, struct err *err)
{
	AUTO_FREE char *base = xasprintf("%s/node/base", data);
	host->crun_root = xasprintf("%s/node/crun", data);
	int r = dir_make(host->crun_root, 0700, err);
	if (r == 0)
		r = dir_make(base, 0755, err);
	if (r == 0)
		r = base_layer_make(base, &host->base, err);
	return r;
}

// Not every machine has loop devices: without them scratch is as bounded, and in memory.
static void open_scratch(struct container_host *host, const char *data)
{
	AUTO_FREE char *folder = xasprintf("%s/node/scratch", data);
	if (scratch_open(folder, &host->scratch_err) == 0)
		host->scratch = TAKE_PTR(folder);
}

static int find_crun(struct err *err)
{
	AUTO_FREE char *folders = xstrdup(CRUN_PATH);
	char *rest = folders;
	for (char *folder; (folder = strsep(&rest, ":"));) {
		AUTO_FREE char *path = xasprintf("%s/crun", folder);
		if (access(path, X_OK) == 0)
			return 0;
	}
	err_set(err, -ENOENT, "no crun in %s", CRUN_PATH);
	return err_hint(err, "install it: apt-get install crun");
}

static int open_parts(struct container_host *host, const char *data, const struct container_member *members, size_t n,
		      struct err *err)
{
	int r = find_crun(err);
	if (r == 0)
		r = cgroup_detect(&host->cgroups, err);
	if (r == 0)
		r = cgroup_prepare(host->cgroups, host->platform, &host->limits, err);
	if (r == 0)
		r = open_folders(host, data, err);
	if (r == 0)
		r = syscalls_compile(&host->filter, err);
	if (r == 0)
		r = link_open_bridge(&host->net, err);
	if (r == 0)
		r = firewall_open(&host->firewall, &host->net, members, n, err);
	if (r == 0)
		open_scratch(host, data);
	return r;
}

int container_check_folder(const char *folder, struct err *err)
{
	return layers_check(folder, err);
}

int container_host_open(const struct container_host_config *config, const struct container_member *members,
			size_t n_members, struct container_host **ret_host, struct err *err)
{
	struct link_net net;
	int r = check_config(config, &net, err);
	if (r < 0)
		return r;

	struct container_host *host = xcalloc(1, sizeof(*host));
	host->platform = xstrdup(config->platform);
	host->net = net;
	host->net.platform = host->platform;
	host->files_limit = files_limit();
	pthread_mutex_init(&host->lock, NULL);
	r = open_parts(host, config->data, members, n_members, err);
	if (r < 0) {
		container_host_close(host);
		return err_wrap(err, "cannot run containers on this machine");
	}
	*ret_host = host;
	return 0;
}

void container_host_close(struct container_host *host)
{
	if (!host)
		return;
	firewall_close(&host->firewall);
	pthread_mutex_destroy(&host->lock);
	free(host->platform);
	free(host->crun_root);
	free(host->base);
	free(host->scratch);
	free(host->filter);
	free(host);
}

int container_host_repair(struct container_host *host, struct err *err)
{
	int r = link_open_bridge(&host->net, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&host->lock);
	r = firewall_repair(&host->firewall, err);
	pthread_mutex_unlock(&host->lock);
	return r;
}

const struct err *container_host_scratch_err(const struct container_host *host)
{
	return host->scratch ? NULL : &host->scratch_err;
}

uint32_t container_host_gateway(const struct container_host *host)
{
	return host->net.gateway;
}

static int remove_containers(struct container_host *host, struct err *err)
{
	struct container_entry *entries = NULL;
	size_t n = 0;
	int r = container_list(host, &entries, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = container_delete(host, entries[i].id, NULL, 0, err);
	free(entries);
	return r;
}

static int remove_scratch(const char *data, struct err *err)
{
	AUTO_FREE char *node = xasprintf("%s/node", data);
	AUTO_FREE char *scratch = xasprintf("%s/scratch", node);
	int r = scratch_wait_gone(node, err);
	return r < 0 ? r : tree_remove(scratch, err);
}

int container_host_remove(const struct container_host_config *config, struct err *err)
{
	struct link_net net;
	int r = check_config(config, &net, err);
	if (r < 0)
		return r;

	struct container_host host = { .platform = (char *)config->platform, .net = net };
	host.net.platform = config->platform;
	AUTO_FREE char *crun_root = xasprintf("%s/node/crun", config->data);
	host.crun_root = crun_root;
	pthread_mutex_init(&host.lock, NULL);
	r = cgroup_detect(&host.cgroups, err);
	if (r == 0)
		r = remove_containers(&host, err);
	pthread_mutex_destroy(&host.lock);
	if (r < 0)
		return r;

	char group[CGROUP_PATH_SIZE];
	cgroup_path(config->platform, NULL, group);
	r = cgroup_remove(host.cgroups, group, err);
	if (r == 0)
		r = remove_scratch(config->data, err);
	if (r == 0)
		r = firewall_remove_tables(config->platform, err);
	if (r == 0)
		r = link_remove_bridge(config->platform, err);
	if (r == 0)
		r = tree_remove(crun_root, err);
	return r;
}
