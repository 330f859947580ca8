#include "agent/container/layers.h"

#include "agent/container/identity.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { LAYERS_MAX = 64 };

// The overlay's parts as descriptors. lower[] are copies of mounts that belong to no namespace until attached.
struct parts {
	int lower[LAYERS_MAX];
	size_t n;
	int writable;
};

static void parts_clear(struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		close(parts->lower[i]);
	cleanup_close(&parts->writable);
}

static int clone_with_ids(const char *path, int identity_fd, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open layer '%s'", path);

	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY,
		.userns_fd = (uint64_t)identity_fd,
	};
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
		int r = err_set_errno(err, -errno, "cannot map the ids of layer '%s'", path);
		err_hint(err, "its file system must support idmapped mounts (ext4, xfs, btrfs; tmpfs from Linux 6.3)");
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_parts(const struct layers *layers, struct parts *parts, struct err *err)
{
	if (layers->n_lower > LAYERS_MAX)
		return err_set(err, -E2BIG, "more than %d layers", LAYERS_MAX);
	for (size_t i = 0; i < layers->n_lower; i++) {
		int r = clone_with_ids(layers->lower[i], layers->identity_fd, &parts->lower[i], err);
		if (r < 0)
			return r;
		parts->n++;
	}
	if (!layers->writable)
		return 0;
	// Not mapped: the overlay makes its work directory as the machine's root, who does not exist in the mapping.
	parts->writable = open_tree(AT_FDCWD, layers->writable, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (parts->writable < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", layers->writable);
	return 0;
}

// The file system's own words on what went wrong, if it has any.
static int overlay_err(struct err *err, int fs, int code, const char *what)
{
	char words[256] = "";
	ssize_t n = read(fs, words, sizeof(words) - 1); // "e message"
	if (n > 2 && words[0] == 'e') {
		words[n] = '\0';
		words[strcspn(words, "\n")] = '\0';
		return err_set_errno(err, code, "%s: %s", what, words + 2);
	}
	return err_set_errno(err, code, "%s", what);
}

static int set_text(int fs, const char *key, const char *value)
{
	return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

// Nothing in a layer may lead the kernel to another place than the layer: no redirects, no metadata-only copies.
static int set_options(int fs)
{
	int r = set_text(fs, "redirect_dir", "nofollow");
	if (r < 0)
		return r;
	r = set_text(fs, "metacopy", "off");
	if (r < 0)
		return r;
	return set_text(fs, "index", "off");
}

static int set_lower_fds(int fs, const struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++) {
		if (fsconfig(fs, FSCONFIG_SET_FD, "lowerdir+", NULL, parts->lower[i]) < 0)
			return -errno;
	}
	return 0;
}

// Before Linux 6.13 layers are named by path. These are short, and a list of them stays below fsconfig's limit of 255.
static int set_lower_paths(int fs, const struct parts *parts)
{
	char text[256];
	size_t length = 0;
	for (size_t i = 0; i < parts->n; i++) {
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s/proc/self/fd/%d", i ? ":" : "",
					   parts->lower[i]);
		if (length >= sizeof(text))
			return -E2BIG;
	}
	return set_text(fs, "lowerdir", text);
}

static int set_writable(int fs, const struct parts *parts)
{
	char upper[64], work[64];
	if (parts->writable < 0)
		return 0;
	snprintf(upper, sizeof(upper), "/proc/self/fd/%d/upper", parts->writable);
	snprintf(work, sizeof(work), "/proc/self/fd/%d/work", parts->writable);
	int r = set_text(fs, "upperdir", upper);
	if (r < 0)
		return r;
	return set_text(fs, "workdir", work);
}

static int make_overlay(const struct parts *parts, int (*set_lower)(int, const struct parts *), int *ret_mount,
			struct err *err)
{
	AUTO_CLOSE int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return err_set_errno(err, -errno, "no overlay file system");

	int r = set_options(fs);
	if (r == 0)
		r = set_lower(fs, parts);
	if (r == 0)
		r = set_writable(fs, parts);
	if (r == 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		r = -errno;
	if (r < 0)
		return overlay_err(err, fs, r, "cannot put the layers together");

	unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (parts->writable < 0 ? MOUNT_ATTR_RDONLY : 0);
	int mount = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	if (mount < 0)
		return overlay_err(err, fs, -errno, "cannot mount the layers");
	*ret_mount = mount;
	return 0;
}

static int attach(int mount, const char *path)
{
	return move_mount(mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

// An overlay takes layers only from mounts of the caller's own namespace, before Linux 6.15: attach them, on top of
// each other, for a moment. A descriptor goes on meaning its own mount.
static int make_overlay_attached(const struct parts *parts, const char *hidden, int *ret_mount, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < parts->n && r == 0; i++)
		r = attach(parts->lower[i], hidden);
	if (r == 0 && parts->writable >= 0)
		r = attach(parts->writable, hidden);
	if (r == 0)
		r = make_overlay(parts, set_lower_paths, ret_mount, err);
	else
		err_set_errno(err, r, "cannot attach layers at '%s'", hidden);
	layers_unmount(hidden, NULL);
	return r;
}

static int mount_parts(const struct parts *parts, const char *target, const char *hidden, struct err *err)
{
	AUTO_CLOSE int mount = -1;
	int r = make_overlay(parts, set_lower_fds, &mount, NULL);
	if (r < 0)
		r = make_overlay_attached(parts, hidden, &mount, err);
	if (r < 0)
		return r;
	r = attach(mount, target);
	return r < 0 ? err_set_errno(err, r, "cannot mount at '%s'", target) : 0;
}

static int make_writable(const char *writable, uint32_t owner, struct err *err)
{
	static const char *const names[] = { "upper", "work" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", writable, names[i]);
		int r = dir_make(path, 0755, err);
		if (r < 0)
			return r;
		if (chown(path, owner, owner) < 0)
			return err_set_errno(err, -errno, "cannot give '%s' to the container", path);
	}
	return 0;
}

int layers_mount(const struct layers *layers, const char *target, const char *hidden, struct err *err)
{
	if (layers->writable) {
		int r = make_writable(layers->writable, layers->owner, err);
		if (r < 0)
			return r;
	}
	CLEANUP(parts_clear) struct parts parts = { .writable = -1 };
	int r = open_parts(layers, &parts, err);
	if (r < 0)
		return r;
	return mount_parts(&parts, target, hidden, err);
}

int layers_check(const char *folder, struct err *err)
{
	AUTO_CLOSE int mapped = -1;
	AUTO_CLOSE int identity = identity_userns_open(identity_base(IDENTITY_MIN_ADDRESS_BITS), 1, 1);
	if (identity < 0)
		return err_set_errno(err, identity, "cannot make a user namespace");
	return clone_with_ids(folder, identity, &mapped, err);
}

int layers_unmount(const char *target, struct err *err)
{
	while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (errno == EINVAL || errno == ENOENT) // not a mount point
		return 0;
	return err_set_errno(err, -errno, "cannot unmount '%s'", target);
}
