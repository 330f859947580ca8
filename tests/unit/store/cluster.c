#include "cluster.h"

#include "bed.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { ARGS = 48, READY_MS = 30000 };

bool cluster_possible(void)
{
	if (access("/usr/bin/etcd", X_OK) == 0 && access("/usr/bin/etcdctl", X_OK) == 0)
		return true;
	print_message("SKIPPED: etcd is not installed; scripts/install-deps installs it (etcd-server, etcd-client)\n");
	return false;
}

static unsigned free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	return ntohs(sa.sin_port);
}

static void run_etcd(const struct cluster *c, unsigned i, const char *const *more)
{
	AUTO_FREE char *log = xasprintf("%s/%u.log", c->dir, i);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	const char *scheme = more && *more && str_eq(*more, "--cert-file") ? "https" : "http";
	const char *argv[ARGS] = {
		"etcd",
		"--name",
		xasprintf("m%u", i),
		"--data-dir",
		xasprintf("%s/%u", c->dir, i),
		"--listen-client-urls",
		xasprintf("%s://127.0.0.1:%u", scheme, c->members[i].client_port),
		"--advertise-client-urls",
		xasprintf("%s://127.0.0.1:%u", scheme, c->members[i].client_port),
		"--listen-peer-urls",
		xasprintf("http://127.0.0.1:%u", c->members[i].peer_port),
		"--initial-advertise-peer-urls",
		xasprintf("http://127.0.0.1:%u", c->members[i].peer_port),
		"--initial-cluster-state",
		"new",
		"--logger",
		"zap",
		"--initial-cluster",
	};
	char *list = xstrdup("");
	for (unsigned k = 0; k < c->n; k++)
		list = xasprintf("%s%sm%u=http://127.0.0.1:%u", list, k ? "," : "", k, c->members[k].peer_port);
	size_t n = 0;
	while (argv[n])
		n++;
	argv[n++] = list;
	for (; more && *more; more++)
		argv[n++] = *more;
	execv("/usr/bin/etcd", (char **)argv);
	_exit(127);
}

static const char *const *extra_args; // of the cluster being made; the same at every start

void cluster_start(struct cluster *c, unsigned member)
{
	assert_int_equal(c->members[member].pid, 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_etcd(c, member, extra_args);
	c->members[member].pid = pid;
}

void cluster_signal(struct cluster *c, unsigned member, int signum)
{
	pid_t pid = c->members[member].pid;
	if (!pid)
		return;
	kill(pid, signum);
	if (signum == SIGSTOP)
		waitpid(pid, NULL, WUNTRACED); // until all its threads stand still
	if (signum != SIGKILL)
		return;
	waitpid(pid, NULL, 0);
	c->members[member].pid = 0;
}

// etcdctl against all members; its output is appended to out.
static bool ctl(const struct cluster *c, const char *const *args, struct buf *out)
{
	const char *argv[ARGS] = {
		"/usr/bin/etcdctl", "--endpoints", c->url + strlen("etcd://"), "--command-timeout", "2s",
		"--dial-timeout",   "1s"
	};
	size_t n = 7;
	int status = 0;
	for (; *args; args++)
		argv[n++] = *args;
	return process_run(argv, out, 20000, &status, NULL) == 0 && status == 0;
}

void cluster_ctl(struct cluster *c, const char *const *args)
{
	AUTO_BUF struct buf out = BUF_INIT(1 << 20);
	for (int tries = 0; tries < 20; tries++) {
		buf_reset(&out);
		if (ctl(c, args, &out))
			return;
		usleep(100000);
	}
	fail_msg("etcdctl %s: %s", args[0], buf_str(&out));
}

void cluster_wipe(struct cluster *c)
{
	cluster_ctl(c, (const char *const[]){ "del", "", "--from-key=true", NULL });
}

// A line of "endpoint status": "ADDR, id, version, size, is leader, …".
static int find_leader(struct cluster *c)
{
	AUTO_BUF struct buf out = BUF_INIT(1 << 20);
	ctl(c, (const char *const[]){ "endpoint", "status", NULL }, &out); // fails when one of them is down
	for (char *line = strtok((char *)buf_str(&out), "\n"); line; line = strtok(NULL, "\n")) {
		char address[64], leader[16];
		if (sscanf(line, "%63[^,], %*[^,], %*[^,], %*[^,], %15[^,]", address, leader) == 2 &&
		    str_eq(leader, "true"))
			return cluster_member_of(c, address);
	}
	return -1;
}

unsigned cluster_leader(struct cluster *c)
{
	uint64_t until = monotonic_ms() + READY_MS;
	do {
		int leader = find_leader(c);
		if (leader >= 0)
			return (unsigned)leader;
		usleep(100000);
	} while (monotonic_ms() < until);
	fail_msg("the cluster in '%s' has no leader; see its logs", c->dir);
	return 0;
}

int cluster_member_of(const struct cluster *c, const char *address)
{
	const char *colon = strrchr(address, ':');
	for (unsigned i = 0; colon && i < c->n; i++)
		if ((unsigned)atoi(colon + 1) == c->members[i].client_port)
			return (int)i;
	return -1;
}

struct cluster *cluster_new_in(const char *base, unsigned n, const char *const *more_args)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	c->n = n;
	c->dir = xasprintf("%s/dialtone-etcd-XXXXXX", base);
	assert_non_null(mkdtemp(c->dir));
	c->url = xstrdup("etcd://");
	extra_args = more_args;
	for (unsigned i = 0; i < n; i++) {
		AUTO_FREE char *before = c->url;
		c->members[i].client_port = free_port();
		c->members[i].peer_port = free_port();
		c->url = xasprintf("%s%s127.0.0.1:%u", before, i ? "," : "", c->members[i].client_port);
	}
	for (unsigned i = 0; i < n; i++)
		cluster_start(c, i);
	cluster_leader(c);
	cluster_ctl(c, (const char *const[]){ "put", "ready", "yes", NULL });
	cluster_wipe(c);
	return c;
}

struct cluster *cluster_new(unsigned n)
{
	bed_use_memory();
	const char *base = getenv("TMPDIR");
	return cluster_new_in(base ? base : "/tmp", n, NULL);
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->n; i++)
		cluster_signal(c, i, SIGKILL);
	assert_int_equal(tree_remove(c->dir, NULL), 0);
	free(c->dir);
	free(c->url);
	free(c);
}
