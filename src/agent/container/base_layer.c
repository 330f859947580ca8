#include "agent/container/base_layer.h"

#include "agent/container/oci.h"
#include "base/id.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { INIT_MAX = 16 << 20 };

static const char *const inits[] = { "/usr/bin/catatonit", "/usr/libexec/podman/catatonit", "/usr/bin/tini-static" };
static const char *const folders[] = { ".dialtone", "dev", "etc", "proc", "run", "sys", "tmp" };

static int read_init(struct buf *init, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(inits); i++) {
		int r = file_read(inits[i], init, err);
		if (r != -ENOENT)
			return r;
	}
	err_set(err, -ENOENT, "no init for containers on this machine (looked for %s)", inits[0]);
	return err_hint(err, "install it: apt-get install catatonit");
}

static int fill(const char *dir, const struct buf *init, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, folders[i]);
		int r = dir_make(path, 0755, err);
		if (r < 0)
			return r;
	}
	AUTO_FREE char *path = xasprintf("%s%s", dir, OCI_INIT);
	return file_write_durable(path, buf_data(init), buf_len(init), 0755, err);
}

static int make(const char *path, const struct buf *init, struct err *err)
{
	AUTO_FREE char *temporary = xasprintf("%s.%d.tmp", path, getpid());
	int r = tree_remove(temporary, err);
	if (r == 0)
		r = dir_make(temporary, 0755, err);
	if (r == 0)
		r = fill(temporary, init, err);
	if (r == 0 && rename(temporary, path) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		r = err_set_errno(err, -errno, "cannot rename '%s'", temporary);
	tree_remove(temporary, NULL);
	return r;
}

int base_layer_make(const char *dir, char **ret_path, struct err *err)
{
	AUTO_BUF struct buf init = BUF_INIT(INIT_MAX);
	int r = read_init(&init, err);
	if (r < 0)
		return r;

	char digest[DIGEST_SIZE];
	digest_of(buf_data(&init), buf_len(&init), digest);
	AUTO_FREE char *path = xasprintf("%s/%.16s", dir, strchr(digest, ':') + 1);
	if (file_exists(path) != 1) {
		r = make(path, &init, err);
		if (r < 0)
			return err_wrap(err, "cannot make the base layer");
	}
	*ret_path = TAKE_PTR(path);
	return 0;
}
