// What a new agent process finds on its machine. Nothing is started here, and nothing that cannot be read is touched.
#include "agent/core.h"
#include "agent/unreadable.h"
#include "agent/visitor.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "keeper/record.h"
#include "model/json.h"

#include <dirent.h>
#include <errno.h>

enum { SPEC_MAX = 8 << 20 };

struct found {
	struct list link;
	char *id, *dir;
	struct order *order; // NULL: cannot be read, for this reason
	struct err why;
	char *environment; // NULL: not known
	bool visitor; // a one-off container of an earlier agent: to be removed
	struct instance_found run;
};

static int read_spec(struct found *found, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/spec.json", found->dir);
	AUTO_BUF struct buf text = BUF_INIT(SPEC_MAX);
	struct assignment a = { 0 };
	int r = file_read(path, &text, err);
	if (r == 0)
		r = assignment_parse_text(buf_data(&text), buf_len(&text), &a, err);
	if (r == 0 && !str_eq(a.instance, found->id)) {
		assignment_clear(&a);
		r = err_set(err, -EINVAL, "it is the assignment of another instance");
	}
	if (r < 0)
		return err_wrap(err, "%s", path);
	found->environment = xasprintf("%s/%s", a.tenant, a.environment);
	found->order = order_new(&a);
	return 0;
}

// The note is a help; without it the instance is started anew.
static void read_note(struct found *found)
{
	AUTO_FREE char *path = xasprintf("%s/state", found->dir);
	AUTO_BUF struct buf text = BUF_INIT(64 << 10);
	AUTO_JSON json_t *json = NULL;
	if (file_read(path, &text, NULL) < 0 || json_from_bytes(buf_data(&text), buf_len(&text), &json, NULL) < 0)
		return;
	struct instance_found *run = &found->run;
	const char *address = json_get_text(json, "address", "");
	const char *environment = json_get_text(json, "environment", "");
	if (!found->environment && !str_empty(environment))
		found->environment = xstrdup(environment);
	if (!str_empty(address) && ipv4_parse(address, &run->address) < 0)
		run->address = 0;
	run->running.pid = (pid_t)json_get_u64(json, "pid", 0);
	run->running.start_ticks = json_get_u64(json, "start_ticks", 0);
	run->ready = json_get_bool(json, "ready", false);
	run->over = json_get_bool(json, "over", false);
	run->restarts = (uint32_t)json_get_u64(json, "restarts", 0);
	run->started_ms = json_get_u64(json, "started_ms", 0);
}

static bool same_process(const struct running *a, pid_t pid, unsigned long long start_ticks)
{
	return a->pid && a->pid == pid && a->start_ticks == start_ticks;
}

// What an agent that died in the middle of creating or removing the container left.
static void look_for_bundle(struct found *found)
{
	AUTO_FREE char *bundle = xasprintf("%s/bundle", found->dir);
	found->run.leftovers = file_exists(bundle) == 1;
}

static void read_keeper(struct found *found)
{
	struct instance_found *run = &found->run;
	struct process_identity identity;
	AUTO_FREE char *path = xasprintf("%s/keeper", found->dir);
	char boot[BOOT_ID_SIZE] = "";
	boot_id(boot, NULL);
	if (identity_read(path, &identity) == 0) {
		run->leftovers = true;
		run->watched = same_process(&run->running, identity.pid, identity.start_ticks) && str_eq(identity.boot, boot);
	}
	struct keeper_exit ended;
	if (exit_record_read(found->dir, &ended) == 0 && same_process(&run->running, ended.pid, ended.start_ticks)) {
		run->exited = true;
		run->ended = ended;
	}
}

static void found_free(struct found *found)
{
	list_remove(&found->link);
	order_unref(found->order);
	free(found->environment);
	free(found->id);
	free(found->dir);
	free(found);
}

static bool take_past(struct agent *agent, const char *dir)
{
	struct assignment a = { 0 };
	uint64_t ended_ms;
	if (past_read(dir, &a, &ended_ms, NULL) < 0)
		return false;
	history_add(&agent->history, &a, ended_ms);
	assignment_clear(&a);
	return true;
}

// A directory that was made, but in which nothing was recorded yet, is the beginning of an instance that never was.
static bool is_empty_beginning(const char *dir)
{
	AUTO_FREE char *spec = xasprintf("%s/spec.json", dir);
	AUTO_FREE char *past = xasprintf("%s/past", dir);
	AUTO_FREE char *bundle = xasprintf("%s/bundle", dir);
	return file_exists(spec) == 0 && file_exists(past) == 0 && file_exists(bundle) == 0;
}

static void look_at(struct agent *agent, const char *id, struct list *all)
{
	struct found *found = xcalloc(1, sizeof(*found));
	list_init(&found->link);
	found->id = xstrdup(id);
	found->dir = agent_instance_dir(agent, id);
	if (take_past(agent, found->dir)) {
		found_free(found);
		return;
	}
	if (visitor_is(found->dir)) {
		found->visitor = true;
		list_append(all, &found->link);
		return;
	}
	if (read_spec(found, &found->why) < 0 && is_empty_beginning(found->dir)) {
		tree_remove(found->dir, NULL);
		found_free(found);
		return;
	}
	read_note(found);
	look_for_bundle(found);
	read_keeper(found);
	list_append(all, &found->link);
}

static int look_around(struct agent *agent, struct list *all, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances", agent->platform.data);
	int r = dir_make(path, 0700, err);
	if (r < 0)
		return r;
	DIR *dir = opendir(path);
	if (!dir)
		return err_set_errno(err, -errno, "cannot read %s", path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (instance_id_valid(entry->d_name))
			look_at(agent, entry->d_name, all);
	}
	closedir(dir);
	return 0;
}

static int open_host(struct agent *agent, struct list *all, struct err *err)
{
	struct container_member *members = NULL;
	size_t n = 0;
	struct found *found;
	LIST_EACH(found, all, link) {
		if (!found->run.address)
			continue;
		if (addresses_hold(&agent->addresses, found->run.address) < 0) {
			log_warn("instance=%s its address is taken; it gets another", found->id);
			found->run.address = 0;
			continue;
		}
		if (!found->environment)
			continue;
		members = xreallocarray(members, n + 1, sizeof(*members));
		members[n++] = (struct container_member){ found->run.address, found->environment };
	}
	struct container_host_config config = {
		.platform = agent->platform.id,
		.data = agent->platform.data,
		.subnet = agent->platform.subnet,
	};
	int r = container_host_open(&config, members, n, &agent->host, err);
	free(members);
	const struct err *why = r < 0 ? NULL : container_host_scratch_err(agent->host);
	if (why)
		log_warn("/tmp of instances is in memory and counts as theirs: %s%s%s", why->text, why->hint[0] ? "; " : "",
			 why->hint);
	return r;
}

static struct found *find(struct list *all, const char *id)
{
	struct found *found;
	LIST_EACH(found, all, link) {
		if (str_eq(found->id, id))
			return found;
	}
	return NULL;
}

// The commands of an agent that has died, whose people have long been told.
static void end_strays(struct agent *agent, const struct found *found)
{
	unsigned ended = found->order && found->run.runs ? container_end_strays(agent->host, found->id) : 0;
	if (ended)
		log_info("instance=%s what an exec of an earlier agent left is ended, processes=%u", found->id, ended);
}

static int match_containers(struct agent *agent, struct list *all, struct err *err)
{
	AUTO_FREE struct container_entry *entries = NULL;
	size_t n = 0;
	int r = container_list(agent->host, &entries, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct found *found = find(all, entries[i].id);
		if (!found) {
			log_warn("container=%s is of no instance that could be read here; it is left alone", entries[i].id);
			continue;
		}
		struct instance_found *run = &found->run;
		run->leftovers = true;
		run->runs = entries[i].running && run->watched && run->started_ms && entries[i].pid == run->running.pid &&
			    !run->exited;
		end_strays(agent, found);
	}
	return r;
}

static void adopt(struct agent *agent, struct found *found)
{
	if (!found->order) {
		unreadable_add(agent, found->id, &found->run, &found->why);
		return;
	}
	struct instance *instance = instance_adopt(&agent->world, found->order, &found->run, &agent_events, agent);
	map_set(&agent->instances, instance->id, instance);
	log_info("instance=%s app=%s adopted as %s pid=%d", instance->id, found->order->assignment.app,
		 instance_life_name(instance), instance->running.pid);
}

int agent_adopt(struct agent *agent, struct err *err)
{
	struct list all;
	list_init(&all);
	int r = look_around(agent, &all, err);
	if (r == 0)
		r = open_host(agent, &all, err);
	if (r == 0)
		r = match_containers(agent, &all, err);
	struct found *found;
	LIST_EACH(found, &all, link) {
		if (r == 0 && found->visitor)
			visitor_clear_away(agent, found->id);
		else if (r == 0)
			adopt(agent, found);
		found_free(found);
	}
	return r;
}
