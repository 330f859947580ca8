// Root file systems from layers: by descriptor, and the way of older kernels, whichever this one has.
#include "agent/container/layers.c" // for the second way, which a new kernel never takes by itself

#include "agent/container/identity.h"
#include "base/clock.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

static char root[] = "/var/tmp/dialtone-layers-XXXXXX";

static char *below(const char *path)
{
	return xasprintf("%s/%s", root, path);
}

static void put(const char *path, const char *text)
{
	AUTO_FREE char *full = below(path);
	AUTO_FREE char *folder = xstrndup(full, (size_t)(strrchr(full, '/') - full));
	assert_int_equal(dir_make(folder, 0755, NULL), 0);
	assert_int_equal(file_write_atomic(full, text, strlen(text), 0644, NULL), 0);
}

static void expect(const char *path, const char *text, uid_t owner)
{
	AUTO_FREE char *full = below(path);
	AUTO_BUF struct buf content = BUF_INIT(1 << 16);
	struct stat st;
	assert_int_equal(file_read(full, &content, NULL), 0);
	assert_string_equal(buf_str(&content), text);
	assert_int_equal(stat(full, &st), 0);
	assert_int_equal(st.st_uid, owner);
}

enum { BASE = 5000000 };

static void mount_with(int (*mount_it)(const struct layers *, struct err *))
{
	AUTO_FREE char *top = below("top"), *bottom = below("bottom");
	AUTO_CLOSE int identity = identity_userns_open(BASE, 1000, 1000);
	assert_true(identity >= 0);
	const char *lower[] = { top, bottom };
	struct layers layers = { .lower = lower, .n_lower = 2, .identity_fd = identity };
	struct err err = { 0 };
	if (mount_it(&layers, &err) < 0)
		fail_msg("%s", err.text);
	expect("target/both", "from top", BASE);
	expect("target/only-below", "from bottom", BASE);

	AUTO_FREE char *target = below("target"), *hidden = below("hidden"), *left = below("hidden/both");
	AUTO_FREE char *new_file = below("target/new");
	assert_true(file_write_atomic(new_file, "x", 1, 0644, NULL) < 0);
	assert_int_equal(file_exists(left), 0); // nothing stays attached
	assert_int_equal(layers_unmount(target, NULL), 0);
	assert_int_equal(layers_unmount(target, NULL), 0);
	assert_int_equal(file_exists(hidden), 1);
}

static int by_any(const struct layers *layers, struct err *err)
{
	AUTO_FREE char *target = below("target"), *hidden = below("hidden");
	return layers_mount(layers, target, hidden, err);
}

static int by_attaching(const struct layers *layers, struct err *err)
{
	AUTO_FREE char *target = below("target"), *hidden = below("hidden");
	CLEANUP(parts_clear) struct parts parts = { .writable = -1 };
	AUTO_CLOSE int mount = -1;
	int r = open_parts(layers, &parts, err);
	if (r == 0)
		r = make_overlay_attached(&parts, hidden, &mount, err);
	return r < 0 ? r : attach(mount, target);
}

static void as_this_kernel_can(void **state)
{
	(void)state;
	mount_with(by_any);
}

static void as_older_kernels_can(void **state)
{
	(void)state;
	mount_with(by_attaching);
}

static void a_missing_layer_is_named(void **state)
{
	(void)state;
	AUTO_FREE char *top = below("top");
	const char *lower[] = { top, "/nowhere" };
	struct layers layers = { .lower = lower, .n_lower = 2, .identity_fd = identity_userns_open(BASE, 1000, 1000) };
	struct err err = { 0 };
	assert_int_equal(by_any(&layers, &err), -ENOENT);
	assert_non_null(strstr(err.text, "'/nowhere'"));
	close(layers.identity_fd);
}

static void a_folder_is_checked(void **state)
{
	(void)state;
	struct err err = { 0 };
	assert_int_equal(layers_check(root, &err), 0);
	assert_int_equal(layers_check("/proc", &err), -EINVAL); // no kernel maps the ids of this one
	assert_non_null(strstr(err.text, "'/proc'"));
	assert_non_null(strstr(err.hint, "ext4"));
}

static int make_layers(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(root));
	put("top/both", "from top");
	put("bottom/both", "from bottom");
	put("bottom/only-below", "from bottom");
	AUTO_FREE char *target = below("target"), *hidden = below("hidden");
	assert_int_equal(dir_make(target, 0755, NULL), 0);
	return dir_make(hidden, 0755, NULL);
}

static int remove_layers(void **state)
{
	(void)state;
	return tree_remove(root, NULL);
}

_Noreturn static void open_for_ever(uint32_t base)
{
	for (;;)
		close(identity_userns_open(base, 1, 1));
}

// What holds the namespace for a moment has the caller's descriptors, and must not live on when the caller is killed.
static void nobody_outlives_a_killed_caller(void **state)
{
	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	uint32_t base = identity_base(IDENTITY_MIN_ADDRESS_BITS);
	for (int i = 0; i < 40; i++) {
		pid_t pid = fork();
		if (pid == 0)
			open_for_ever(base);
		usleep(1000 + (useconds_t)i * 37);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, __WALL), pid);
	}
	uint64_t deadline_ms = monotonic_ms() + 5000;
	while (waitpid(-1, NULL, __WALL | WNOHANG) >= 0) {
		assert_true(monotonic_ms() < deadline_ms);
		usleep(1000);
	}
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_this_kernel_can),
		cmocka_unit_test(as_older_kernels_can),
		cmocka_unit_test(a_missing_layer_is_named),
		cmocka_unit_test(a_folder_is_checked),
		cmocka_unit_test(nobody_outlives_a_killed_caller),
	};
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("skipped: mounts need root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, make_layers, remove_layers);
}
