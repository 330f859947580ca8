// A real etcd cluster for tests: members on loopback, with free ports and a temporary folder (in memory where the
// machine has that, so that syncs cost nothing), which can be killed, paused and started again. They end with this
// process.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum { CLUSTER_MAX = 3 };

struct cluster {
	unsigned n;
	char *dir;
	char *url; // "etcd://127.0.0.1:…,…"
	struct {
		pid_t pid; // 0: not running
		unsigned client_port, peer_port;
	} members[CLUSTER_MAX];
};

bool cluster_possible(void); // false: etcd is not installed; has said so

struct cluster *cluster_new(unsigned n);                                                    // waits until it works
// In a folder of base. more_args, if any, are etcd's for TLS to its clients; ETCDCTL_CACERT and so on are the caller's.
struct cluster *cluster_new_in(const char *base, unsigned n, const char *const *more_args);
void cluster_free(struct cluster *c);                                                       // NULL is fine
void cluster_start(struct cluster *c, unsigned member);
void cluster_signal(struct cluster *c, unsigned member, int signum); // SIGKILL, SIGSTOP: waits until it is so
unsigned cluster_leader(struct cluster *c);                          // waits until there is one
int cluster_member_of(const struct cluster *c, const char *address); // by its client address; -1: none
void cluster_ctl(struct cluster *c, const char *const *args);        // etcdctl; must succeed
void cluster_wipe(struct cluster *c);                                // deletes all keys
