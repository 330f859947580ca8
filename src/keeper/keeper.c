#include "keeper/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "io/socket.h"
#include "keeper/hold.h"
#include "keeper/namespace.h"
#include "keeper/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void remember_orphan(struct keeper *k, pid_t pid)
{
	struct orphan *o = &k->orphans[k->next_orphan++ % ORPHANS];
	*o = (struct orphan){ .identity.pid = pid, .time_ms = realtime_ms() };
	process_start_time(pid, &o->identity.start_ticks);
	waitpid(pid, &o->status, WNOHANG);
}

static void child_ended(struct signal *signal)
{
	struct keeper *k = CONTAINER_OF(signal, struct keeper, child);
	pid_t last = 0;
	for (;;) {
		siginfo_t info = { 0 };
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			return;
		pid_t pid = info.si_pid;
		// Whoever knows the process reaps it; one that comes up again is nobody's.
		if (pid == last || (!part_ended(k, pid) && !instance_ended(k, pid)))
			remember_orphan(k, pid);
		last = pid;
	}
}

static void asked_to_end(struct keeper *k)
{
	log_info("stopping reason=signal");
	if (k->holding)
		loop_stop(k->loop);
	else
		parts_stop(k);
}

static void terminate(struct signal *signal)
{
	asked_to_end(CONTAINER_OF(signal, struct keeper, terminate));
}

static void interrupt(struct signal *signal)
{
	asked_to_end(CONTAINER_OF(signal, struct keeper, interrupt));
}

static int start_signals(struct keeper *k, struct err *err)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	int r = signal_start(&k->child, k->loop, SIGCHLD, child_ended);
	if (r == 0)
		r = signal_start(&k->terminate, k->loop, SIGTERM, terminate);
	if (r == 0)
		r = signal_start(&k->interrupt, k->loop, SIGINT, interrupt);
	return r < 0 ? err_set_errno(err, r, "cannot catch signals") : 0;
}

static void stop_signals(struct keeper *k)
{
	signal_stop(&k->child);
	signal_stop(&k->terminate);
	signal_stop(&k->interrupt);
}

static bool same_namespace(pid_t pid, const char *kind)
{
	char theirs[64], ours[64];
	struct stat a, b;
	snprintf(theirs, sizeof(theirs), "/proc/%d/ns/%s", (int)pid, kind);
	snprintf(ours, sizeof(ours), "/proc/self/ns/%s", kind);
	return stat(theirs, &a) == 0 && stat(ours, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// A part that its keeper started and did not live to write down is known by its command line, which a process inside a
// container can imitate: hence the user and the namespaces.
static bool is_command_of(pid_t pid, const char *name, const char *data)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) < 0 || st.st_uid != geteuid() || !same_namespace(pid, "user") ||
	    !same_namespace(pid, "pid"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	AUTO_BUF struct buf line = BUF_INIT(16384);
	if (file_read(path, &line, NULL) < 0 || buf_len(&line) == 0)
		return false;
	AUTO_BUF struct buf want = BUF_INIT(16384);
	buf_addf(&want, "%s%c--data%c%s", name, 0, 0, data);
	buf_add(&want, "", 1);
	// argv[0], and before it perhaps an interpreter, may be anything.
	size_t n = buf_len(&want);
	return buf_len(&line) > n && memcmp(buf_data(&line) + buf_len(&line) - n, buf_data(&want), n) == 0 &&
	       buf_data(&line)[buf_len(&line) - n - 1] == '\0';
}

static void find_unrecorded(struct keeper *k)
{
	DIR *dir = opendir("/proc");
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));) {
		uint64_t pid;
		if (parse_u64(entry->d_name, INT32_MAX, &pid) < 0)
			continue;
		for (size_t n = 0; n < PARTS; n++)
			if (k->parts[n].identity.pid == 0 && is_command_of((pid_t)pid, k->parts[n].name, k->data))
				identity_of((pid_t)pid, &k->parts[n].identity);
	}
	closedir(dir);
}

// Fills in the identities of the parts that live on from a predecessor.
static void find_parts(struct keeper *k, struct keeper_state *state)
{
	if (keeper_state_read(k->data, state) < 0)
		*state = (struct keeper_state){ 0 };
	for (unsigned s = 0; s < state->n_parts; s++) {
		AUTO_CLOSE int alive = identity_open(&state->parts[s].identity);
		for (size_t n = 0; n < PARTS; n++) {
			if (!str_eq(state->parts[s].name, k->parts[n].name))
				continue;
			k->parts[n].restarts = state->parts[s].restarts;
			if (alive >= 0)
				k->parts[n].identity = state->parts[s].identity;
		}
	}
	find_unrecorded(k);
}

static int enter_namespace(const struct keeper *k, struct err *err)
{
	for (size_t n = 0; n < PARTS; n++)
		if (k->parts[n].identity.pid && namespace_join(k->parts[n].identity.pid, err) == 0)
			return 0;
	return k->resumed ? 0 : namespace_make(err); // resumed: it is in its own
}

// The router's socket at its fixed number, which was kept free since the start.
static int place_socket(struct keeper *k, int fd)
{
	int r = fd == KEEPER_LISTEN_FD ? 0 : dup3(fd, KEEPER_LISTEN_FD, O_CLOEXEC);
	k->listening = r >= 0;
	return r < 0 ? -errno : 0;
}

static bool is_socket_at(int fd, const struct address *want)
{
	struct address have = { .len = sizeof(have.sa) };
	if (getsockname(fd, (struct sockaddr *)&have.sa, &have.len) < 0)
		return false;
	char a[ADDRESS_TEXT_SIZE], b[ADDRESS_TEXT_SIZE];
	address_write(&have, a);
	address_write(want, b);
	return str_eq(a, b);
}

// Takes the listening socket out of the surviving router, so that no connection is refused in between.
static bool take_socket_back(struct keeper *k, const struct address *want)
{
	AUTO_CLOSE int router = identity_open(&k->parts[PART_ROUTER].identity);
	if (router < 0)
		return false;
	AUTO_CLOSE int fd = (int)syscall(SYS_pidfd_getfd, router, KEEPER_LISTEN_FD, 0);
	if (fd >= 0 && is_socket_at(fd, want))
		return place_socket(k, fd) == 0;
	log_info("router replaced reason=\"it does not listen on %s\"", k->http);
	pidfd_signal(router, SIGTERM); // adopted, it ends and is started again with the right socket
	return false;
}

static int open_socket(struct keeper *k, struct err *err)
{
	struct address address;
	int r = address_parse(k->http, &address, err);
	if (r < 0)
		return r;
	if (k->parts[PART_ROUTER].identity.pid && take_socket_back(k, &address))
		return 0;
	AUTO_CLOSE int fd = -1;
	r = socket_listen(&address, 4096, &fd, err);
	return r < 0 ? r : place_socket(k, fd);
}

static const char usage[] = "usage: dialtone keeper --data DIR --http ADDR:PORT [--exe FILE] [--hold | --resume]";

static int parse_arguments(struct keeper *k, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {
		{ "data", required_argument, NULL, 'd' }, { "http", required_argument, NULL, 'h' },
		{ "exe", required_argument, NULL, 'e' },  { "hold", no_argument, NULL, 'o' },
		{ "resume", no_argument, NULL, 'r' },     { 0 },
	};
	optind = 2; // behind the program and "keeper"
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'd')
			k->data = optarg;
		else if (c == 'h')
			k->http = optarg;
		else if (c == 'e')
			k->exe = optarg;
		else if (c == 'o')
			k->hold_only = true;
		else if (c == 'r')
			k->resumed = true;
		else
			return err_set(err, -EINVAL, "%s", usage);
	}
	return k->data && k->http && optind == argc ? 0 : err_set(err, -EINVAL, "%s", usage);
}

// The path of this program; after an upgrade that of the new file under the same name.
static char *own_exe(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0)
		return xstrdup("/proc/self/exe");
	path[n] = '\0';
	if (str_ends(path, " (deleted)"))
		path[n - 10] = '\0';
	return xstrdup(path);
}

static void raise_limits(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max; // seven descriptors an instance
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int make_folders(struct keeper *k, struct err *err)
{
	static const char *const folders[] = { "run", "log", "node/instances" };
	int r = 0;
	for (size_t n = 0; n < ARRAY_LEN(folders) && r == 0; n++) {
		AUTO_FREE char *path = xasprintf("%s/%s", k->data, folders[n]);
		r = dir_make(path, 0700, err);
	}
	return r;
}

// Everything that must be done while there is one thread only.
static int prepare(struct keeper *k, struct err *err)
{
	int r = make_folders(k, err);
	if (r < 0)
		return r;
	AUTO_FREE char *lock = xasprintf("%s/run/keeper.lock", k->data);
	r = lock_take(lock, &k->lock_fd, err);
	if (r < 0)
		return r;
	r = boot_id(k->boot, err);
	if (r < 0)
		return r;
	parts_init(k);
	struct keeper_state state;
	find_parts(k, &state);
	r = enter_namespace(k, err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return err_set_errno(err, -errno, "cannot become the parent of orphans");
	return k->hold_only ? 0 : open_socket(k, err);
}

static int start(struct keeper *k, struct err *err)
{
	int r = start_signals(k, err);
	if (r < 0)
		return r;
	hold_signals(SIG_UNBLOCK);
	instances_recover(k);
	inherited_close(&k->inherited);
	r = peers_listen(k, err);
	if (r < 0)
		return r;
	if (k->hold_only)
		hold(k);
	else
		parts_start(k);
	child_ended(&k->child); // what ended before the signal was caught
	return 0;
}

static void finish(struct keeper *k)
{
	AUTO_FREE char *socket = xasprintf("%s/run/keeper.sock", k->data);
	AUTO_FREE char *state = xasprintf("%s/run/keeper.state", k->data);
	unlink(socket);
	if (k->holding)
		unlink(state); // nobody else is there to do it
	peers_free(k);
	parts_free(k);
	instances_free(k);
	stop_signals(k);
	timer_clear(&k->stop_deadline);
	loop_free(k->loop); // waits for exit records on their way to the disk
	cleanup_close(&k->lock_fd);
}

int keeper_main(int argc, char **argv)
{
	log_init("keeper");
	int reserved = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (reserved >= 0 && reserved != KEEPER_LISTEN_FD) {
		dup3(reserved, KEEPER_LISTEN_FD, O_CLOEXEC);
		close(reserved);
	}
	AUTO_FREE char *exe = own_exe();
	struct keeper k = { .exe = exe, .lock_fd = -1, .socket_fd = -1 };
	list_init(&k.peers);
	struct err err = { 0 };
	raise_limits();
	if (parse_arguments(&k, argc, argv, &err) < 0) {
		log_error("%s", err.text);
		return 2;
	}
	if (k.resumed)
		inherited_find(&k.inherited);
	k.loop = loop_new();
	int r = prepare(&k, &err);
	if (r == 0)
		r = start(&k, &err);
	if (r < 0) {
		log_error("cannot start error=\"%s\" hint=\"%s\"", err.text, err.hint);
		return 1; // children that live are left to the next one
	}
	loop_run(k.loop);
	finish(&k);
	log_info("ended");
	return 0;
}
