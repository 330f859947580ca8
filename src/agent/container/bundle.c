#include "agent/container/bundle.h"

#include "agent/container/identity.h"
#include "agent/container/layers.h"
#include "agent/container/oci.h"
#include "agent/container/scratch.h"
#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { FILE_MAX = 64 << 10 };

void bundle_init(struct bundle *bundle, const char *dir)
{
	bundle->path = xasprintf("%s/bundle", dir);
	bundle->rootfs = xasprintf("%s/rootfs", bundle->path);
	bundle->parts = xasprintf("%s/parts", bundle->path);
	bundle->scratch = xasprintf("%s/scratch", bundle->path);
	bundle->top = xasprintf("%s/top", bundle->path);
}

void bundle_clear(struct bundle *bundle)
{
	free(bundle->path);
	free(bundle->rootfs);
	free(bundle->parts);
	free(bundle->scratch);
	free(bundle->top);
}

// Not durable and not atomic: after a crash the bundle is made anew.
static int write_file(const char *dir, const char *name, const char *text, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot write '%s'", path);
	int r = fchmod(fd, 0644) < 0 ? -errno : write_all(fd, text, strlen(text));
	return r < 0 ? err_set_errno(err, r, "cannot write '%s'", path) : 0;
}

static int make_folder(const char *path, struct err *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_set_errno(err, -errno, "cannot make '%s'", path);
	return chmod(path, 0755) < 0 ? err_set_errno(err, -errno, "cannot make '%s'", path) : 0;
}

static int write_etc(const struct bundle *bundle, const struct container_spec *spec, struct err *err)
{
	const char *name = str_empty(spec->hostname) ? spec->id : spec->hostname;
	char address[IPV4_TEXT_SIZE] = "127.0.0.1";
	if (!spec->host_network)
		ipv4_write(spec->address, address);

	AUTO_BUF struct buf hosts = BUF_INIT(FILE_MAX), resolver = BUF_INIT(FILE_MAX), hostname = BUF_INIT(FILE_MAX);
	buf_addf(&hosts, "127.0.0.1\tlocalhost\n::1\tip6-localhost ip6-loopback\n%s\t%s\n", address, name);
	buf_addf(&hostname, "%s\n", name);
	for (size_t i = 0; spec->dns && spec->dns[i]; i++)
		buf_addf(&resolver, "nameserver %s\n", spec->dns[i]);

	AUTO_FREE char *etc = xasprintf("%s/etc", bundle->top);
	int r = make_folder(etc, err);
	if (r == 0)
		r = write_file(etc, "hosts", buf_str(&hosts), err);
	if (r == 0)
		r = write_file(etc, "hostname", buf_str(&hostname), err);
	if (r == 0)
		r = write_file(etc, "resolv.conf", buf_str(&resolver), err);
	return r;
}

int bundle_write(const struct bundle *bundle, const struct container_host *host, const struct container_spec *spec,
		 struct err *err)
{
	const char *const folders[] = { bundle->path, bundle->rootfs, bundle->parts, bundle->scratch, bundle->top };
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		int r = make_folder(folders[i], err);
		if (r < 0)
			return r;
	}
	int r = write_etc(bundle, spec, err);
	if (r < 0)
		return r;

	char cgroup[CGROUP_PATH_SIZE];
	cgroup_path(host->platform, spec->id, cgroup);
	struct oci_setting setting = {
		.cgroup = cgroup,
		.filter = host->filter,
		.scratch = host->scratch ? bundle->scratch : NULL,
		.files_limit = host->files_limit,
		.limits = host->limits,
	};
	AUTO_FREE char *config = NULL;
	r = oci_config(spec, &setting, &config, err);
	return r < 0 ? r : write_file(bundle->path, "config.json", config, err);
}

static int mount_layers(const struct bundle *bundle, const struct container_host *host,
			const struct container_spec *spec, struct err *err)
{
	AUTO_CLOSE int identity = identity_userns_open(identity_base(spec->address), spec->uid, spec->gid);
	if (identity < 0)
		return err_set_errno(err, identity, "cannot make the instance's user namespace");

	size_t n = spec->n_layers + 2;
	AUTO_FREE const char **lower = xcalloc(n, sizeof(*lower));
	lower[0] = bundle->top;
	lower[1] = host->base;
	memcpy(lower + 2, spec->layers, spec->n_layers * sizeof(*lower));
	struct layers layers = { .lower = lower,
				 .n_lower = n,
				 .writable = spec->writable,
				 .owner = identity_base(spec->address),
				 .identity_fd = identity };

	return layers_mount(&layers, bundle->rootfs, bundle->parts, err);
}

static int mount_scratch(const struct bundle *bundle, const struct container_host *host,
			 const struct container_spec *spec, struct err *err)
{
	if (!host->scratch)
		return 0;
	uint32_t base = identity_base(spec->address);
	struct scratch_owner owner = {
		.root = identity_outside(base, spec->uid, 0),
		.root_group = identity_outside(base, spec->gid, 0),
		.uid = identity_outside(base, spec->uid, spec->uid),
		.gid = identity_outside(base, spec->gid, spec->gid),
	};
	AUTO_FREE char *image = xasprintf("%s/scratch.ext4", bundle->path);
	return scratch_mount(host->scratch, image, oci_scratch_bytes(spec), &owner, bundle->scratch, err);
}

int bundle_mount(const struct bundle *bundle, const struct container_host *host, const struct container_spec *spec,
		 struct err *err)
{
	int r = bundle_unmount(bundle, err); // of an attempt that was cut short
	if (r == 0)
		r = mount_layers(bundle, host, spec, err);
	return r < 0 ? r : mount_scratch(bundle, host, spec, err);
}

int bundle_unmount(const struct bundle *bundle, struct err *err)
{
	int r = layers_unmount(bundle->scratch, err);
	if (r == 0)
		r = layers_unmount(bundle->rootfs, err);
	return r < 0 ? r : layers_unmount(bundle->parts, err);
}

int bundle_remove(const struct bundle *bundle, struct err *err)
{
	int r = bundle_unmount(bundle, err);
	return r < 0 ? r : tree_remove(bundle->path, err);
}
