#include "agent/container/scratch.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#define MKFS "/sbin/mkfs.ext4"

enum {
	MKFS_MS = 120000,
	ATTACH_TRIES = 100,
	FIT_TRIES = 6,
	BLOCK = 4096,
	GONE_MS = 30000,
	LOOP_PATH_SIZE = 32,
	TEMPLATES_MAX = 64
};
static const uint64_t TRIAL_BYTES = 1ull << 20;
static const char loop_control[] = "/dev/loop-control";

static int open_loop(unsigned number, char path[LOOP_PATH_SIZE])
{
	snprintf(path, LOOP_PATH_SIZE, "/dev/loop%u", number);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	// Where /dev is not the kernel's own, a device that was just added has no name yet.
	if (fd < 0 && errno == ENOENT && mknod(path, S_IFBLK | 0600, makedev(LOOP_MAJOR, number)) == 0)
		fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

// A free loop device for the file; -EBUSY when somebody else was quicker.
static int try_attach(int control_fd, int image_fd, char path[LOOP_PATH_SIZE])
{
	int number = ioctl(control_fd, LOOP_CTL_GET_FREE);
	if (number < 0)
		return -errno;
	AUTO_CLOSE int fd = open_loop((unsigned)number, path);
	// Direct: the file's content is cached once, by the file system in it, for the instance that uses it. Where the
	// file cannot be read so the kernel leaves that out by itself.
	struct loop_config config = { .fd = (uint32_t)image_fd,
				      .info = { .lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO } };
	if (fd < 0)
		return fd;
	return ioctl(fd, LOOP_CONFIGURE, &config) < 0 ? -errno : TAKE_FD(fd);
}

// The device detaches itself when nothing has it open: neither the descriptor nor a mount.
static int attach(int image_fd, char path[LOOP_PATH_SIZE], int *ret_fd, struct err *err)
{
	AUTO_CLOSE int control = open(loop_control, O_RDWR | O_CLOEXEC);
	if (control < 0) {
		int r = err_set_errno(err, -errno, "cannot open '%s'", loop_control);
		err_hint(err, "load the kernel's loop module: modprobe loop");
		return r;
	}
	int r = -EBUSY;
	for (int i = 0; i < ATTACH_TRIES && r == -EBUSY; i++)
		r = try_attach(control, image_fd, path);
	if (r < 0)
		return err_set_errno(err, r, "no loop device");
	*ret_fd = r;
	return 0;
}

// Nothing in it outlives the instance, so nothing has to be safe from a power cut.
static int set_options(int fs, const char *device)
{
	static const char *const flags[] = { "discard", "noinit_itable", "nobarrier" };
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", device, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "errors", "remount-ro", 0) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (fsconfig(fs, FSCONFIG_SET_FLAG, flags[i], NULL, 0) < 0)
			return -errno;
	return 0;
}

static int mount_device(const char *device, int *ret_mount, struct err *err)
{
	AUTO_CLOSE int fs = fsopen("ext4", FSOPEN_CLOEXEC);
	if (fs < 0) {
		int r = err_set_errno(err, -errno, "no ext4 file system");
		err_hint(err, "load the kernel's ext4 module: modprobe ext4");
		return r;
	}
	int r = set_options(fs, device);
	if (r == 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		r = -errno;
	if (r < 0)
		return err_set_errno(err, r, "cannot mount %s", device);
	int mount = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
	if (mount < 0)
		return err_set_errno(err, -errno, "cannot mount %s", device);
	*ret_mount = mount;
	return 0;
}

static int mount_image(int image_fd, int *ret_mount, struct err *err)
{
	char path[LOOP_PATH_SIZE];
	AUTO_CLOSE int loop = -1;
	int r = attach(image_fd, path, &loop, err);
	return r < 0 ? r : mount_device(path, ret_mount, err);
}

// ---- what each start's file system is a copy of

static int make_empty(const char *path, uint64_t size, struct err *err)
{
	static const char features[] =
		"none,dir_index,dir_nlink,extent,extra_isize,filetype,flex_bg,huge_file,large_file,"
		"sparse_super,uninit_bg,64bit";
	// clang-format off
	const char *const argv[] = { MKFS, "-q", "-F", "-b", "4096", "-I", "256", "-i", "8192", "-m", "0", "-O", features,
				     "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", path, NULL };
	// clang-format on
	if (access(MKFS, X_OK) < 0) {
		err_set_errno(err, -errno, "no %s", MKFS);
		return err_hint(err, "install it: apt-get install e2fsprogs");
	}
	unlink(path); // of the try before: something may have it mounted still
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_set_errno(err, -errno, "cannot make '%s' with %llu MiB", path,
				     (unsigned long long)(size >> 20));
	return process_check(argv, MKFS_MS, err);
}

// Takes what is beyond the room that was asked for, in blocks that are never written.
static int take_rest(int mount, uint64_t bytes)
{
	AUTO_CLOSE int fd = openat(mount, "rest", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
	return fd < 0 || fallocate(fd, 0, 0, (off_t)bytes) < 0 ? -errno : 0;
}

static int room_of(int mount, uint64_t *ret)
{
	struct statvfs vfs;
	if (fstatvfs(mount, &vfs) < 0)
		return -errno;
	*ret = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	return 0;
}

// The end of the mount would write it too, but tells no errors; and a child that another thread is just spawning keeps
// the mount for a moment after we close it.
static int write_out(int mount)
{
	AUTO_CLOSE int top = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top < 0 || syncfs(top) < 0 ? -errno : 0;
}

static int furnish_mounted(int mount, uint64_t bytes, uint64_t *ret_room)
{
	if (unlinkat(mount, "lost+found", AT_REMOVEDIR) < 0 || mkdirat(mount, SCRATCH_TMP, 0755) < 0 ||
	    fchmodat(mount, SCRATCH_TMP, 01777, 0) < 0 || mkdirat(mount, SCRATCH_RUN, 0755) < 0)
		return -errno;
	int r = room_of(mount, ret_room);
	uint64_t rest = *ret_room > bytes ? *ret_room - bytes : 0;
	if (r == 0 && rest)
		r = take_rest(mount, rest);
	return r < 0 ? r : write_out(mount);
}

// *ret_room: how many bytes can be written to it (before the rest is taken).
static int furnish(const char *path, uint64_t bytes, uint64_t *ret_room, struct err *err)
{
	AUTO_CLOSE int image = open(path, O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int mount = -1;
	if (image < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	int r = mount_image(image, &mount, err);
	if (r < 0)
		return r;
	r = furnish_mounted(mount, bytes, ret_room);
	return r < 0 ? err_set_errno(err, r, "cannot furnish '%s'", path) : 0;
}

// How much of a file system is its own is known when it is mounted; a second try then fits.
static int make_fitting(const char *path, uint64_t bytes, struct err *err)
{
	uint64_t size = bytes + bytes / 16 + (2 << 20), room = 0;
	for (int i = 0; i < FIT_TRIES; i++) {
		int r = make_empty(path, size, err);
		if (r == 0)
			r = furnish(path, bytes, &room, err);
		if (r < 0)
			return r;
		if (room >= bytes && room - bytes <= 16 * BLOCK + bytes / 1000)
			return 0;
		size = (size + bytes - room + 8 * BLOCK) / BLOCK * BLOCK;
	}
	return room >= bytes ? 0 : err_set(err, -ENOSPC, "no file system of %llu bytes", (unsigned long long)bytes);
}

static int make_template(const char *path, uint64_t bytes, struct err *err)
{
	AUTO_FREE char *temporary = xasprintf("%s.tmp", path);
	int r = make_fitting(temporary, bytes, err);
	if (r == 0 && rename(temporary, path) < 0)
		r = err_set_errno(err, -errno, "cannot rename '%s'", temporary);
	if (r < 0)
		unlink(temporary);
	return r;
}

// Users choose the sizes. Beyond so many, all of them go, and are made again when they are asked for.
static int keep_few(const char *folder, struct err *err)
{
	unsigned n = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		n += str_ends(entry->d_name, ".ext4");
	if (dir)
		closedir(dir);
	if (n < TEMPLATES_MAX)
		return 0;
	int r = tree_remove(folder, err);
	return r < 0 ? r : dir_make(folder, 0700, err);
}

static int open_template(const char *folder, uint64_t bytes, int *ret_fd, struct err *err)
{
	static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
	AUTO_FREE char *path = xasprintf("%s/%llu.ext4", folder, (unsigned long long)bytes);
	int r = 0;
	pthread_mutex_lock(&making);
	if (file_exists(path) != 1) {
		r = keep_few(folder, err);
		if (r == 0)
			r = make_template(path, bytes, err);
	}
	if (r == 0) {
		*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
		if (*ret_fd < 0)
			r = err_set_errno(err, -errno, "cannot open '%s'", path);
	}
	pthread_mutex_unlock(&making);
	return r;
}

// ---- an instance's own

static int copy_range(int from, int to, off_t at, off_t end)
{
	while (at < end) {
		off_t out = at;
		ssize_t n = copy_file_range(from, &at, to, &out, (size_t)(end - at), 0);
		if (n == 0 || (n < 0 && errno != EINTR))
			return n ? -errno : -EIO;
	}
	return 0;
}

// Holes stay holes.
static int copy_sparse(int from, int to)
{
	off_t end = lseek(from, 0, SEEK_END), at = 0;
	if (end < 0 || ftruncate(to, end) < 0)
		return -errno;
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		off_t hole = lseek(from, at, SEEK_HOLE);
		int r = hole < 0 ? -errno : copy_range(from, to, at, hole);
		if (r < 0)
			return r;
		at = hole;
	}
	return errno == ENXIO ? 0 : -errno; // no data up to the end
}

static int make_image(const char *folder, const char *path, uint64_t bytes, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int from = -1;
	int r = open_template(folder, bytes, &from, err);
	if (r < 0)
		return r;
	unlink(path); // of an attempt that was cut short
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || unlink(path) < 0)
		return err_set_errno(err, -errno, "cannot make '%s'", path);
	r = copy_sparse(from, fd);
	if (r < 0)
		return err_set_errno(err, r, "cannot fill '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int give(int mount, const struct scratch_owner *owner)
{
	if (fchownat(mount, SCRATCH_TMP, owner->root, owner->root_group, 0) < 0 ||
	    fchownat(mount, SCRATCH_RUN, owner->uid, owner->gid, 0) < 0)
		return -errno;
	return 0;
}

int scratch_mount(const char *folder, const char *image, uint64_t bytes, const struct scratch_owner *owner,
		  const char *target, struct err *err)
{
	AUTO_CLOSE int fd = -1, mount = -1;
	int r = make_image(folder, image, bytes, &fd, err);
	if (r == 0)
		r = mount_image(fd, &mount, err);
	if (r < 0)
		return err_wrap(err, "cannot make the scratch file system");
	r = give(mount, owner);
	if (r == 0 && move_mount(mount, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = -errno;
	return r < 0 ? err_set_errno(err, r, "cannot mount the scratch file system at '%s'", target) : 0;
}

int scratch_open(const char *folder, struct err *err)
{
	AUTO_CLOSE int fd = -1, mount = -1;
	AUTO_FREE char *image = xasprintf("%s/trial", folder);
	int r = tree_remove(folder, err);
	if (r == 0)
		r = dir_make(folder, 0700, err);
	if (r == 0)
		r = make_image(folder, image, TRIAL_BYTES, &fd, err);
	return r < 0 ? r : mount_image(fd, &mount, err);
}

// ---- the end

static bool has_file_below(const char *device, const char *folder)
{
	AUTO_FREE char *path = xasprintf("/sys/block/%s/loop/backing_file", device);
	AUTO_BUF struct buf file = BUF_INIT(2 * PATH_MAX);
	return file_read(path, &file, NULL) == 0 && str_starts(buf_str(&file), folder) &&
	       buf_str(&file)[strlen(folder)] == '/';
}

static bool any_has_file_below(const char *folder)
{
	bool found = false;
	DIR *dir = opendir("/sys/block");
	for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
		found = str_starts(entry->d_name, "loop") && has_file_below(entry->d_name, folder);
	if (dir)
		closedir(dir);
	return found;
}

int scratch_wait_gone(const char *folder, struct err *err)
{
	AUTO_FREE char *real = realpath(folder, NULL);
	uint64_t deadline_ms = monotonic_ms() + GONE_MS;
	while (real && any_has_file_below(real)) {
		if (monotonic_ms() > deadline_ms) {
			err_set(err, -EBUSY, "a loop device still has a file of '%s'", folder);
			return err_hint(err, "losetup -a shows it; a process may still have it mounted");
		}
		usleep(10000);
	}
	return 0;
}
