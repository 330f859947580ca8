// The parts of `dialtone store`, one a function. Each returns an exit status.
#pragma once

#include "cli/cli.h"

int store_status(struct cli *cli);
int store_backup(struct cli *cli, const char *path);
int store_restore(struct cli *cli, const char *path);
int store_compact_command(struct cli *cli);
int store_migrate(struct cli *cli, const char *from, const char *to);

struct backup;
// A backup from the platform that cli->client talks to, into a file and read back from it.
int store_download(struct cli *cli, const char *path, struct backup *ret, uint64_t *ret_bytes, struct err *err);

// Whether a store was named, to be worked on directly. Otherwise the platform is asked: cli->client is made.
bool store_is_direct(const struct cli *cli);
int store_connect(struct cli *cli);

// `status`, and what `doctor` has to say: each warning of GET /v1/store's answer.
void store_print(const json_t *info);
