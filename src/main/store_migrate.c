// `store migrate FROM TO`: everything from one store into another, compared afterwards.
#include "base/str.h"
#include "cli/output.h"
#include "main/store.h"
#include "main/store_target.h"

#include <errno.h>

static int copy_all(struct target *from, struct target *to, bool replace, struct backup *ret, struct err *err)
{
	int r = target_open(from, err);
	if (r < 0)
		return r;
	backup_take(from->store, "", ret);
	return target_restore(to, ret, replace, err);
}

// Opened as a server would.
static int check_copy(const struct backup *backup, struct target *to, struct err *err)
{
	int r = target_open(to, err);
	return r < 0 ? r : backup_compare(backup, to->store, err);
}

int store_migrate(struct cli *cli, const char *from_word, const char *to_word)
{
	struct err err = { 0 };
	AUTO_TARGET struct target from = { 0 }, to = { 0 };
	AUTO_BACKUP struct backup backup = { 0 };
	int r = target_find(cli, from_word, &from, &err);
	if (r == 0)
		r = target_find(cli, to_word, &to, &err);
	if (r == 0 && target_same(&from, &to))
		r = err_set(&err, -EINVAL, "'%s' and '%s' are the same store", from_word, to_word);
	if (r == 0)
		r = copy_all(&from, &to, cli_get(cli, "replace"), &backup, &err);
	if (r == 0)
		r = check_copy(&backup, &to, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	printf("%s holds the %zu records of %s now, compared one by one\n", target_text(&to), backup.count,
	       target_text(&from));
	return CLI_OK;
}
