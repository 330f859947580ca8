#include "main/running.h"

#include "base/str.h"
#include "keeper/state.h"
#include "model/platform.h"

#include <dirent.h>

static bool lives(const char *instances, const char *id)
{
	AUTO_FREE char *file = xasprintf("%s/%s/keeper", instances, id);
	struct process_identity identity;
	if (!instance_id_valid(id) || identity_read(file, &identity) < 0)
		return false;
	AUTO_CLOSE int pidfd = identity_open(&identity);
	return pidfd >= 0;
}

unsigned running_count(const char *data)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances", data);
	DIR *dir = opendir(path);
	unsigned count = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += lives(path, entry->d_name);
	if (dir)
		closedir(dir);
	return count;
}

char *running_data_option(const char *data)
{
	return str_eq(data, PLATFORM_DATA_DEFAULT) ? xstrdup("") : xasprintf(" --data %s", data);
}

char *running_text(const char *data)
{
	unsigned n = running_count(data);
	if (n == 0)
		return xstrdup("");
	AUTO_FREE char *option = running_data_option(data);
	pid_t keeper = keeper_holding(data);
	AUTO_FREE char *kept = keeper ? xasprintf("process %d ('dialtone keeper') keeps %s output and ends with %s",
						  (int)keeper, n == 1 ? "its" : "their", n == 1 ? "it" : "the last one")
				      : xstrdup("nobody keeps their output: each waits once it has written 1 MiB");
	return xasprintf(" %u %s on; %s. 'dialtone up%s' takes over, 'dialtone down --apps%s' ends %s.", n,
			 n == 1 ? "instance runs" : "instances run", kept, option, option, n == 1 ? "it" : "them");
}
