// A machine of its own for container tests: mount and network namespaces that end with the test, a platform in them,
// and a layer with the probe program. Tests that need it skip (exit status 77) when they may not make namespaces.
#pragma once

#include "agent/container/container.h"
#include "base/buf.h"

struct stage {
	char root[64]; // temporary directory: data/, layer/, instances/
	char data[96];
	struct container_host_config config;
	struct container_host *host;
	struct addresses addresses;
};

// Enters the namespaces; the process stays in them. Becomes subreaper. 0, or 77 (the reason is printed).
int stage_enter(void);

// A platform of the given id and subnet in the entered namespaces, opened. probe: the program to put into the layer as
// /bin/probe.
void stage_open(struct stage *stage, const char *platform, const char *subnet, const char *probe);
void stage_close(struct stage *stage); // removes everything, and fails the test when something is left

struct instance {
	struct container_spec spec;
	char id[65], dir[160];
	const char *layers[1];
	char layer[96];
	pid_t pid;
	int out_fd; // read end of its output, stdout and stderr
};

// An instance that is not created yet: uid 1000, 64 MiB, 64 processes, environment "t/e"; tests change the spec.
void instance_init(struct instance *instance, struct stage *stage, const char *id, const char *const *words);
void instance_start(struct instance *instance, struct stage *stage); // create and start
int instance_wait(struct instance *instance);                        // wait status; -1 after 20 s
void instance_output(struct instance *instance, struct buf *output); // until the end of its output
bool instance_expect(struct instance *instance,
		     const char *text); // reads until text comes; false after 10 s or the end
void instance_clear(struct instance *instance, struct stage *stage); // delete
