// One process of a history run: history-client --store URL --life N --log FILE --shared FILE [--seed N] [--clients N]
// [--pace MS] [--hold MS]. Commands come in on standard input, a word a line: compact, storm, big, counts, stop; its
// end is a stop, too. At `counts`, and when it has ended in order, it prints its counts as one line of JSON.
#include "workload.h"

#include "base/str.h"
#include "io/loop.h"
#include "store/etcd/private.h"
#include "store/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

enum { STORM = 200, BIG = 60, FAULTS_MS = 300 };

struct process {
	const char *store_url, *log_path;
	struct workload_options options;
	struct loop *loop;
	struct store *store;
	struct log log;
	struct workload load;
	struct poll input;
	struct task over;
	struct timer faults; // of a store in memory
	bool stopping;
};

static void fatal(UNUSED void *arg, const struct err *err)
{
	fprintf(stderr, "fatal: %s\n", err->text);
	_exit(3);
}

static int open_store(struct process *p, struct err *err)
{
	struct store_owner owner = { .fatal = fatal };
	if (str_starts(p->store_url, "etcd://"))
		return store_open_etcd(p->loop, p->store_url, &(struct store_etcd_options){ .open_ms = 60000 }, owner,
				       &p->store, err);
	if (str_starts(p->store_url, "sqlite:"))
		return store_open_sqlite(p->loop, p->store_url + strlen("sqlite:"), owner, &p->store, err);
	if (!str_eq(p->store_url, "memory"))
		return err_set(err, -EINVAL, "no such store: '%s'; it is etcd://…, sqlite:DIR or memory", p->store_url);
	p->store = store_open_memory(p->loop);
	return 0;
}

static struct shared *open_shared(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p = fd < 0 || ftruncate(fd, sizeof(struct shared)) < 0
			  ? MAP_FAILED
			  : mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		return p;
	err_set_errno(err, -errno, "cannot map '%s'", path);
	return NULL;
}

// ---- commands

static void print_counts(const struct process *p)
{
	const struct workload *load = &p->load;
	printf("{\"life\": %u, \"operations\": %" PRIu64 ", \"reads\": %" PRIu64 ", \"fenced_ok\": %" PRIu64,
	       load->options.life, load->ops, load->reads, load->fenced_ok);
	for (unsigned i = 0; i < STORE_RESULTS; i++)
		if (load->counts[i])
			printf(", \"%s\": %" PRIu64, store_result_name(i), load->counts[i]);
	if (str_starts(p->store_url, "etcd://")) {
		struct store_etcd_stats s;
		store_etcd_stats(p->store, &s);
		printf(", \"resent\": %" PRIu64 ", \"recognised\": %" PRIu64 ", \"moved\": %" PRIu64
		       ", \"duplicates\": %" PRIu64 ", \"mismatches\": %" PRIu64 ", \"listed\": %" PRIu64
		       ", \"stale\": %" PRIu64 ", \"counter_fenced\": %" PRIu64,
		       s.resent, s.recognised, s.moved, s.duplicates, s.mismatches, s.listed, s.stale, s.fenced);
	}
	printf("}\n");
	fflush(stdout);
}

static void stop(struct process *p)
{
	if (p->stopping)
		return;
	p->stopping = true;
	timer_stop(&p->faults);
	workload_stop(&p->load, &p->over);
}

static void command(struct process *p, const char *word)
{
	if (str_eq(word, "storm"))
		workload_storm(&p->load, STORM);
	else if (str_eq(word, "big"))
		workload_big(&p->load, BIG);
	else if (str_eq(word, "counts"))
		print_counts(p);
	else if (str_eq(word, "stop"))
		stop(p);
	else if (str_eq(word, "compact") && str_starts(p->store_url, "etcd://") && !etcd_of(p->store)->compacting)
		etcd_compact(etcd_of(p->store), store_revision(p->store));
}

static void input_ready(struct poll *poll, UNUSED int events)
{
	struct process *p = CONTAINER_OF(poll, struct process, input);
	char text[256];
	ssize_t n = read(poll->fd, text, sizeof(text) - 1);
	if (n <= 0) {
		poll_stop(poll);
		stop(p);
		return;
	}
	text[n] = '\0';
	char *rest = NULL;
	for (char *word = strtok_r(text, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest))
		command(p, word);
}

static void next_fault(struct timer *timer)
{
	struct process *p = CONTAINER_OF(timer, struct process, faults);
	static const enum store_fault faults[] = { STORE_FAULT_NOT_APPLIED, STORE_FAULT_NO_SPACE,
						   STORE_FAULT_UNKNOWN_APPLIED, STORE_FAULT_UNKNOWN_NOT_APPLIED };
	store_memory_fault(p->store, faults[rng_below(&p->load.rng, ARRAY_LEN(faults))], 1,
			   1 + (unsigned)rng_below(&p->load.rng, 5));
	timer_set(timer, FAULTS_MS);
}

// ---- main

static void over(struct task *task)
{
	struct process *p = CONTAINER_OF(task, struct process, over);
	if (workload_over(&p->load))
		loop_stop(p->loop);
}

static void run(struct process *p)
{
	task_init(&p->over, p->loop, "over", over);
	timer_init(&p->faults, p->loop, next_fault);
	workload_start(&p->load, p->store, p->loop, &p->log, &p->options);
	if (str_eq(p->store_url, "memory"))
		timer_set(&p->faults, FAULTS_MS);
	int r = poll_start(&p->input, p->loop, 0, POLL_READ, input_ready);
	if (r < 0) {
		fprintf(stderr, "error: commands must come through a pipe: %s\n", strerror(-r));
		exit(2);
	}
	loop_run(p->loop);
	workload_clear(&p->load);
	task_clear(&p->over);
	timer_clear(&p->faults);
	poll_stop(&p->input);
	print_counts(p);
	store_close(p->store);
	log_shrink(&p->log, p->log_path);
	log_close(&p->log);
}

static bool parse(struct process *p, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {
		{ "store", required_argument, NULL, 's' },
		{ "life", required_argument, NULL, 'l' },
		{ "log", required_argument, NULL, 'f' },
		{ "shared", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 'r' },
		{ "clients", required_argument, NULL, 'c' },
		{ "pace", required_argument, NULL, 'p' },
		{ "hold", required_argument, NULL, 'h' },
		{ 0 },
	};
	p->options = (struct workload_options){ .clients = 8, .pace_ms = 10 };
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		unsigned long number = optarg ? strtoul(optarg, NULL, 10) : 0;
		if (c == 's')
			p->store_url = optarg;
		else if (c == 'f')
			p->log_path = optarg;
		else if (c == 'm' && !(p->options.shared = open_shared(optarg, err)))
			return false;
		else if (c == 'r')
			p->options.seed = number;
		else if (c == 'l')
			p->options.life = (uint32_t)number;
		else if (c == 'c')
			p->options.clients = (unsigned)number;
		else if (c == 'p')
			p->options.pace_ms = (unsigned)number;
		else if (c == 'h')
			p->options.hold_ttl_ms = (unsigned)number;
		else if (c == '?')
			return false;
	}
	if (p->store_url && p->log_path && p->options.shared && p->options.life)
		return true;
	err_set(err, -EINVAL, "--store, --log, --shared and --life are needed; see tests/history/client.c");
	return false;
}

int main(int argc, char **argv)
{
	struct process p = { .loop = loop_new() };
	struct err err = { 0 };
	if (!parse(&p, argc, argv, &err) || open_store(&p, &err) < 0 || log_create(&p.log, p.log_path, &err) < 0) {
		fprintf(stderr, "error: %s\n", err.text);
		return 1;
	}
	run(&p);
	loop_free(p.loop);
	munmap(p.options.shared, sizeof(struct shared));
	return 0;
}
