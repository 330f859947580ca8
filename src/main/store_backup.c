#include "base/clock.h"
#include "base/str.h"
#include "cli/output.h"
#include "main/store.h"
#include "main/store_target.h"

#include <errno.h>

static int write_piece(const char *bytes, size_t n, void *arg)
{
	return backup_file_write(arg, bytes, n, NULL);
}

// What came is read back and checked before it gets its name.
int store_download(struct cli *cli, const char *path, struct backup *ret, uint64_t *ret_bytes, struct err *err)
{
	struct backup_file file = { 0 };
	int r = backup_file_begin(&file, path, err);
	if (r == 0)
		r = client_download(cli->client, "/v1/store/backup", write_piece, &file, err);
	*ret_bytes = file.bytes;
	if (r == 0)
		r = backup_read(file.temp, ret, err);
	if (r == 0)
		r = backup_file_end(&file, err);
	backup_file_abort(&file);
	return r;
}

static int take_directly(struct cli *cli, const char *path, struct backup *ret, uint64_t *ret_bytes, struct err *err)
{
	AUTO_TARGET struct target target = { 0 };
	AUTO_BACKUP struct backup backup = { 0 };
	AUTO_PLATFORM struct platform platform = { 0 };
	AUTO_FREE char *data = target_data(cli);
	int r = target_find(cli, NULL, &target, err);
	if (r == 0)
		r = target_open(&target, err);
	if (r < 0)
		return r;
	bool known = cli_get(cli, "data") && platform_load(data, &platform, NULL) == 0;
	backup_take(target.store, known ? platform.id : "", &backup);
	r = backup_write(&backup, path, ret_bytes, err);
	return r < 0 ? r : backup_read(path, ret, err);
}

static json_t *backup_json(const char *path, const struct backup *b)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "file", path, "platform", b->platform, "driver",
			 b->driver, "epoch", b->epoch, "revision", (json_int_t)b->revision, "records",
			 (json_int_t)b->count, "created_ms", (json_int_t)b->created_ms);
}

static int say(json_t *json)
{
	int status = print_json(json);
	json_decref(json);
	return status;
}

int store_backup(struct cli *cli, const char *path)
{
	struct err err = { 0 };
	AUTO_BACKUP struct backup backup = { 0 };
	uint64_t bytes = 0;
	char size[SHORT_TEXT_SIZE];
	int status = store_is_direct(cli) ? CLI_OK : store_connect(cli);
	if (status != CLI_OK)
		return status;
	int r = store_is_direct(cli) ? take_directly(cli, path, &backup, &bytes, &err)
				     : store_download(cli, path, &backup, &bytes, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	if (cli->json)
		return say(backup_json(path, &backup));
	size_text(bytes, size);
	printf("%s: %zu records at revision %llu, %s; checked\n", path, backup.count,
	       (unsigned long long)backup.revision, size);
	printf("It holds secrets: keep it as safe as the platform. Uploaded files are not in it: copy blobs/ of the "
	       "data "
	       "directory too.\n");
	return CLI_OK;
}

int store_restore(struct cli *cli, const char *path)
{
	struct err err = { 0 };
	AUTO_TARGET struct target target = { 0 };
	AUTO_BACKUP struct backup backup = { 0 };
	char when[SHORT_TEXT_SIZE];
	int r = backup_read(path, &backup, &err);
	if (r == 0)
		r = target_find(cli, NULL, &target, &err);
	if (r == 0)
		r = target_restore(&target, &backup, cli_get(cli, "replace"), &err);
	if (r < 0)
		return cli_fail(cli, &err);
	if (cli->json)
		return say(backup_json(path, &backup));
	local_time_text(backup.created_ms, when);
	printf("%s holds the %zu records of %s now, as they were at revision %llu%s%s, %s\n", target_text(&target),
	       backup.count, path, (unsigned long long)backup.revision, *backup.platform ? " of platform " : "",
	       backup.platform, when);
	if (target.dir)
		printf("What was there before, if anything, is in %s.before-restore\n", target.dir);
	return CLI_OK;
}
