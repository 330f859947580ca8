#include "agent/unreadable.h"

#include "agent/core.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"

void unreadable_add(struct agent *agent, const char *id, const struct instance_found *run, const struct err *why)
{
	struct unreadable *unreadable = xcalloc(1, sizeof(*unreadable));
	*unreadable = (struct unreadable){ .id = xstrdup(id), .why = xstrdup(why->text), .run = *run };
	list_append(&agent->unreadable, &unreadable->link);
	log_error("instance=%s left alone pid=%d: %s", id, run->runs ? run->running.pid : 0, why->text);
}

struct unreadable *unreadable_find(const struct agent *agent, const char *id)
{
	struct unreadable *unreadable;
	LIST_EACH(unreadable, &agent->unreadable, link) {
		if (str_eq(unreadable->id, id))
			return unreadable;
	}
	return NULL;
}

void unreadable_free(struct unreadable *unreadable)
{
	list_remove(&unreadable->link);
	free(unreadable->id);
	free(unreadable->why);
	free(unreadable);
}

void unreadable_exited(struct unreadable *unreadable, const struct keeper_exit *record)
{
	struct instance_found *run = &unreadable->run;
	if (!run->running.pid || record->pid != run->running.pid || record->start_ticks != run->running.start_ticks)
		return;
	run->runs = false;
	run->exited = true;
	run->ended = *record;
}

static char *problem(const struct unreadable *unreadable, const char *dir)
{
	AUTO_FREE char *process =
		unreadable->run.runs ? xasprintf("end process %d, then ", unreadable->run.running.pid) : xstrdup("");
	return xasprintf("instance %s is left alone, since no app here has it and its assignment cannot be read (%s); if "
			 "nothing needs it, %sremove %s",
			 unreadable->id, unreadable->why, process, dir);
}

char **unreadable_problems(struct agent *agent, size_t *ret_n)
{
	char **problems = NULL;
	size_t n = 0;
	struct unreadable *unreadable;
	LIST_EACH(unreadable, &agent->unreadable, link) {
		AUTO_FREE char *dir = agent_instance_dir(agent, unreadable->id);
		if (file_exists(dir) == 0) {
			unreadable_free(unreadable);
			continue;
		}
		problems = xreallocarray(problems, n + 1, sizeof(*problems));
		problems[n++] = problem(unreadable, dir);
	}
	*ret_n = n;
	return problems;
}
