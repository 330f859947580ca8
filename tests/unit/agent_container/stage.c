#include "stage.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { END_MS = 20000, TEXT_MS = 10000 };

static int cannot(const char *what)
{
	printf("skipped: %s: %s\n", what, strerror(errno));
	return 77;
}

static void loopback_up(void)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		perror("loopback");
}

int stage_enter(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() != 0) {
		errno = EPERM;
		return cannot("containers need root");
	}
	if (access("/usr/bin/crun", X_OK) < 0)
		return cannot("/usr/bin/crun");
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return cannot("namespaces");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return cannot("private mounts");
	umount2("/sys/fs/cgroup/unified", MNT_DETACH); // there only on a hybrid machine
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	loopback_up();
	return 0;
}

static void make_layer(struct stage *stage, const char *probe)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/layer/bin", stage->root);
	assert_int_equal(dir_make(path, 0755, NULL), 0);
	AUTO_BUF struct buf program = BUF_INIT(64 << 20);
	struct err err = { 0 };
	if (file_read(probe, &program, &err) < 0)
		fail_msg("%s", err.text);
	static const char *const names[] = { "probe", "setuid" }; // the second with the set-user-id bit, of root
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/layer/bin/%s", stage->root, names[i]);
		assert_int_equal(file_write_atomic(path, buf_data(&program), buf_len(&program), 0755, NULL), 0);
	}
	assert_int_equal(chmod(path, 04755), 0);
}

void stage_open(struct stage *stage, const char *platform, const char *subnet, const char *probe)
{
	*stage = (struct stage){ 0 };
	snprintf(stage->root, sizeof(stage->root), "/var/tmp/dialtone-test-XXXXXX");
	assert_non_null(mkdtemp(stage->root));
	snprintf(stage->data, sizeof(stage->data), "%s/data", stage->root);
	make_layer(stage, probe);

	struct err err = { 0 };
	stage->config = (struct container_host_config){ .platform = platform, .data = stage->data, .subnet = subnet };
	if (container_host_open(&stage->config, NULL, 0, &stage->host, &err) < 0)
		fail_msg("%s (%s)", err.text, err.hint);
	assert_int_equal(addresses_init(&stage->addresses, subnet, NULL), 0);
}

void stage_close(struct stage *stage)
{
	struct err err = { 0 };
	if (!stage->host) // it could not be opened
		return;
	container_host_close(stage->host);
	if (container_host_remove(&stage->config, &err) < 0)
		fail_msg("%s", err.text);
	addresses_clear(&stage->addresses);
	if (tree_remove(stage->root, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(file_exists(stage->root), 0);
}

void instance_init(struct instance *instance, struct stage *stage, const char *id, const char *const *words)
{
	static const char *const env[] = { "PATH=/bin", NULL };
	*instance = (struct instance){ .out_fd = -1 };
	snprintf(instance->id, sizeof(instance->id), "%s", id);
	snprintf(instance->dir, sizeof(instance->dir), "%s/instances/%s", stage->root, id);
	snprintf(instance->layer, sizeof(instance->layer), "%s/layer", stage->root);
	instance->layers[0] = instance->layer;
	instance->spec = CONTAINER_SPEC_INIT;
	instance->spec.id = instance->id;
	instance->spec.dir = instance->dir;
	instance->spec.environment = "t/e";
	instance->spec.layers = instance->layers;
	instance->spec.n_layers = 1;
	instance->spec.words = words;
	instance->spec.env = env;
	instance->spec.uid = instance->spec.gid = 1000;
	instance->spec.memory_bytes = 64 << 20;
	instance->spec.pids = 64;
	assert_int_equal(addresses_take(&stage->addresses, &instance->spec.address, NULL), 0);
	assert_int_equal(dir_make(instance->dir, 0700, NULL), 0);
}

void instance_start(struct instance *instance, struct stage *stage)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	instance->out_fd = fds[0];
	instance->spec.stdout_fd = instance->spec.stderr_fd = fds[1];

	struct err err = { 0 };
	int r = container_create(stage->host, &instance->spec, &instance->pid, NULL, &err);
	close(fds[1]);
	if (r < 0)
		fail_msg("%s", err.text);
	if (container_start(stage->host, instance->id, &err) < 0)
		fail_msg("%s", err.text);
}

int instance_wait(struct instance *instance)
{
	AUTO_CLOSE int pidfd = pidfd_open_cloexec(instance->pid);
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int status;
	if (poll(&ended, 1, END_MS) != 1)
		return -1;
	return waitpid(instance->pid, &status, 0) == instance->pid ? status : -1;
}

void instance_output(struct instance *instance, struct buf *output)
{
	char bytes[4096];
	ssize_t n;
	while ((n = read(instance->out_fd, bytes, sizeof(bytes))) > 0)
		buf_add(output, bytes, (size_t)n);
}

bool instance_expect(struct instance *instance, const char *text)
{
	AUTO_BUF struct buf output = BUF_INIT(1 << 20);
	uint64_t deadline_ms = monotonic_ms() + TEXT_MS;
	while (!strstr(buf_str(&output), text)) {
		struct pollfd readable = { .fd = instance->out_fd, .events = POLLIN };
		char byte;
		if (monotonic_ms() > deadline_ms || poll(&readable, 1, 1000) < 0)
			return false;
		if (!readable.revents)
			continue;
		if (read(instance->out_fd, &byte, 1) != 1) {
			printf("expected '%s', got '%s'\n", text, buf_str(&output));
			return false;
		}
		buf_add(&output, &byte, 1);
	}
	return true;
}

void instance_clear(struct instance *instance, struct stage *stage)
{
	struct err err = { 0 };
	if (!stage->host)
		return;
	cleanup_close(&instance->out_fd);
	uint32_t address = instance->spec.host_network ? 0 : instance->spec.address;
	if (container_delete(stage->host, instance->id, instance->dir, address, &err) < 0)
		fail_msg("%s", err.text);
	waitpid(instance->pid, NULL, WNOHANG);
	addresses_release(&stage->addresses, instance->spec.address);
	if (tree_remove(instance->dir, &err) < 0)
		fail_msg("%s", err.text);
}
