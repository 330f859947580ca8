// Scratch: on disk, bounded, nobody's memory, fresh at each start, gone afterwards.
#include "stage.h"

#include "agent/container/bundle.h"
#include "agent/container/layers.h"
#include "agent/container/scratch.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { MIB = 1 << 20 };

static const char *probe;
static struct stage stage;

static int open_stage(void **state)
{
	(void)state;
	stage_open(&stage, "scratch", "100.64.16.0/20", probe);
	const struct err *why = container_host_scratch_err(stage.host);
	if (why)
		print_error("%s; %s\n", why->text, why->hint);
	return why != NULL;
}

static int close_stage(void **state)
{
	(void)state;
	stage_close(&stage);
	return 0;
}

static uint64_t number_after(const char *text, const char *word)
{
	const char *at = strstr(text, word);
	assert_non_null(at);
	return strtoull(at + strlen(word), NULL, 10);
}

// Runs `probe spill`; the exit status.
static int spill(const char *bytes, uint64_t disk, uint64_t memory, struct buf *output)
{
	const char *const words[] = { "probe", "spill", bytes, NULL };
	struct instance instance;
	instance_init(&instance, &stage, "spill", words);
	instance.spec.disk_bytes = disk;
	instance.spec.memory_bytes = memory;
	instance_start(&instance, &stage);
	int status = instance_wait(&instance);
	instance_output(&instance, output);
	assert_int_equal(container_oom(stage.host, "spill"), 0);
	instance_clear(&instance, &stage);
	return status;
}

static void is_not_memory(void **state)
{
	(void)state;
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	assert_int_equal(spill("134217728", 160 * MIB, 32 * MIB, &output), 0);
	assert_int_equal(number_after(buf_str(&output), "spilled "), 128 * MIB);
}

static void is_bounded(void **state)
{
	(void)state;
	static const uint64_t sizes[] = { 1 * MIB, 8 * MIB, 30 * MIB, 100 * MIB };
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_BUF struct buf output = BUF_INIT(1 << 16);
		spill("134217728", sizes[i], 64 * MIB, &output);
		uint64_t room = number_after(buf_str(&output), "room "),
			 written = number_after(buf_str(&output), "spilled ");
		assert_in_range(room, sizes[i] - 16384, sizes[i]);
		assert_in_range(written, sizes[i] - 65536, sizes[i]);
	}
}

static void nothing_is_left(void)
{
	struct err err = { 0 };
	if (scratch_wait_gone(stage.root, &err) < 0)
		fail_msg("%s", err.text);
}

// The probe fails on a file that is there already.
static void is_fresh_and_goes(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		AUTO_BUF struct buf output = BUF_INIT(1 << 16);
		assert_int_equal(spill("65536", 8 * MIB, 64 * MIB, &output), 0);
		nothing_is_left();
	}
}

static void is_the_containers_alone(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "wait", NULL };
	struct instance instance;
	char path[256];
	instance_init(&instance, &stage, "alone", words);
	instance_start(&instance, &stage);
	assert_true(instance_expect(&instance, "waiting"));
	snprintf(path, sizeof(path), "%s/bundle/scratch/tmp", instance.dir);
	assert_int_equal(file_exists(path), 0); // not mounted in this namespace any more
	snprintf(path, sizeof(path), "%s/bundle/scratch.ext4", instance.dir);
	assert_int_equal(file_exists(path), 0);
	kill(instance.pid, SIGKILL);
	instance_wait(&instance);
	nothing_is_left(); // without a call to anybody
	instance_clear(&instance, &stage);
}

// What a killed agent leaves: a mount, and in the worst case a file that has its name still.
static void leftovers_go(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "spill", "65536", NULL };
	struct instance instance;
	char path[256];
	instance_init(&instance, &stage, "cut", words);
	CLEANUP(bundle_clear) struct bundle bundle;
	bundle_init(&bundle, instance.dir);
	assert_int_equal(dir_make(bundle.scratch, 0755, NULL), 0);
	snprintf(path, sizeof(path), "%s/scratch.ext4", bundle.path);
	AUTO_FREE char *folder = xasprintf("%s/node/scratch", stage.data);
	struct scratch_owner owner = { 0 };
	struct err err = { 0 };
	if (scratch_mount(folder, path, 8 * MIB, &owner, bundle.scratch, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(file_write_atomic(path, "old", 3, 0600, NULL), 0);

	instance_start(&instance, &stage);
	assert_int_equal(instance_wait(&instance), 0);
	instance_clear(&instance, &stage);
	nothing_is_left();
}

// The machine's disk fills under the instance: its writes fail, no more.
static void a_full_machine_is_an_error(void **state)
{
	(void)state;
	static char block[MIB];
	struct err err = { 0 };
	struct scratch_owner owner = { 0 };
	AUTO_FREE char *disk = xasprintf("%s/disk", stage.root);
	AUTO_FREE char *folder = xasprintf("%s/templates", disk);
	AUTO_FREE char *image = xasprintf("%s/image", disk);
	AUTO_FREE char *target = xasprintf("%s/mounted", stage.root);
	AUTO_FREE char *file = xasprintf("%s/tmp/file", target);
	assert_int_equal(dir_make(disk, 0755, NULL) | dir_make(target, 0755, NULL), 0);
	assert_int_equal(mount("disk", disk, "tmpfs", 0, "size=12m"), 0);
	if (scratch_open(folder, &err) < 0 || scratch_mount(folder, image, 64 * MIB, &owner, target, &err) < 0)
		fail_msg("%s", err.text);

	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 32; i++)
		if (write(fd, block, sizeof(block)) < 0)
			break;
	assert_int_equal(fsync(fd), -1);
	close(fd);
	assert_int_equal(layers_unmount(target, NULL), 0);
	nothing_is_left();
	assert_int_equal(umount(disk), 0);
}

enum { CHILDREN = 64 };
static atomic_bool enough;

// Children that have, for a moment, everything open that we had when they were made: as between fork and exec.
static void *have_children(void *arg)
{
	(void)arg;
	pid_t children[CHILDREN] = { 0 };
	for (unsigned i = 0; !enough; i = (i + 1) % CHILDREN) {
		if (children[i])
			waitpid(children[i], NULL, 0);
		children[i] = fork();
		if (children[i] == 0) {
			usleep(30000);
			_exit(0);
		}
		usleep(1000);
	}
	for (unsigned i = 0; i < CHILDREN; i++)
		if (children[i] > 0)
			waitpid(children[i], NULL, 0);
	return NULL;
}

static void a_child_that_has_it_open_does_no_harm(void **state)
{
	(void)state;
	struct err err = { 0 };
	struct scratch_owner owner = { 0 };
	AUTO_FREE char *folder = xasprintf("%s/spawning", stage.root);
	AUTO_FREE char *image = xasprintf("%s/image", stage.root);
	AUTO_FREE char *target = xasprintf("%s/spawned", stage.root);
	assert_int_equal(dir_make(target, 0755, NULL), 0);
	assert_int_equal(scratch_open(folder, NULL), 0);
	pthread_t thread;
	enough = false;
	assert_int_equal(pthread_create(&thread, NULL, have_children, NULL), 0);
	for (uint64_t mib = 8; mib < 12 && err.code == 0; mib++)
		if (scratch_mount(folder, image, mib * MIB, &owner, target, &err) == 0)
			layers_unmount(target, &err);
	enough = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (err.code)
		fail_msg("%s", err.text);
	nothing_is_left();
}

// Whatever sizes people think of.
static void templates_are_few(void **state)
{
	(void)state;
	struct err err = { 0 };
	struct scratch_owner owner = { 0 };
	AUTO_FREE char *folder = xasprintf("%s/sizes", stage.root);
	AUTO_FREE char *image = xasprintf("%s/image", stage.root);
	AUTO_FREE char *target = xasprintf("%s/sized", stage.root);
	AUTO_FREE char *first = xasprintf("%s/1.ext4", folder);
	assert_int_equal(dir_make(target, 0755, NULL), 0);
	assert_int_equal(scratch_open(folder, NULL), 0);
	for (unsigned i = 1; i < 200; i++) {
		AUTO_FREE char *path = xasprintf("%s/%u.ext4", folder, i);
		assert_int_equal(file_write_atomic(path, "", 0, 0600, NULL), 0);
	}
	if (scratch_mount(folder, image, 8 * MIB, &owner, target, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(file_exists(first), 0);
	layers_unmount(target, &err);
	nothing_is_left();
}

static void without_loop_devices_it_is_memory(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "limits", "64", "1048576", NULL };
	struct instance instance;
	assert_int_equal(mount("/dev/null", "/dev/loop-control", NULL, MS_BIND, NULL), 0);
	container_host_close(stage.host);
	stage.host = NULL;
	assert_int_equal(container_host_open(&stage.config, NULL, 0, &stage.host, NULL), 0);
	const struct err *why = container_host_scratch_err(stage.host);
	assert_int_equal(umount("/dev/loop-control"), 0);
	assert_non_null(why);
	assert_non_null(strstr(why->text, "loop"));

	AUTO_BUF struct buf output = BUF_INIT(1 << 20);
	instance_init(&instance, &stage, "memory", words);
	instance.spec.disk_bytes = MIB;
	instance_start(&instance, &stage);
	assert_int_equal(instance_wait(&instance), 0);
	instance_output(&instance, &output);
	assert_non_null(strstr(buf_str(&output), "fill_scratch refused"));
	instance_clear(&instance, &stage);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_not_memory),
		cmocka_unit_test(is_bounded),
		cmocka_unit_test(is_fresh_and_goes),
		cmocka_unit_test(is_the_containers_alone),
		cmocka_unit_test(leftovers_go),
		cmocka_unit_test(a_full_machine_is_an_error),
		cmocka_unit_test(a_child_that_has_it_open_does_no_harm),
		cmocka_unit_test(templates_are_few),
		cmocka_unit_test(without_loop_devices_it_is_memory),
	};
	int r = stage_enter();
	if (r || argc < 2)
		return r ? r : 1;
	probe = argv[1];
	return cmocka_run_group_tests(tests, open_stage, close_stage);
}
