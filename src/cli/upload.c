#include "cli/upload.h"

#include "cli/output.h"
#include "cli/wait.h"

#include "base/map.h"
#include "base/str.h"
#include "image/content.h"

#include <errno.h>

// The server takes at most this many digests in one question.
#define ASK_AT_ONCE 10000
// How often an upload is begun whose connection is lost; what has arrived is not sent again.
#define TRIES 3

struct wanted {
	const char **digests;
	size_t n;
};

// Asks about files [from, to) and adds the missing ones, in the artifact's memory.
static int ask(struct cli *cli, const struct artifact *a, size_t from, size_t to, struct map *missing)
{
	json_t *digests = json_array();
	for (size_t i = from; i < to; i++)
		if (a->entries[i].kind == ARTIFACT_FILE)
			json_array_append_new(digests, json_string(a->entries[i].digest));
	json_t *body = json_pack("{s:o}", "digests", digests);
	AUTO_FREE char *path = client_tenant_path(&cli->config, "blobs/missing");
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct client_request request = { .method = "POST", .path = path, .body = body, .repeatable = true };
	struct err err = { 0 };
	int status = client_send(cli->client, &request, &answer, &err) < 0 ? cli_fail(cli, &err) : CLI_OK;
	json_decref(body);
	size_t i;
	json_t *digest;
	json_array_foreach(json_object_get(answer.json, "missing"), i, digest)
		if (json_is_string(digest))
			map_set(missing, json_string_value(digest), missing);
	return status;
}

static void collect(const struct artifact *a, struct map *missing, struct wanted *wanted)
{
	wanted->digests = xcalloc(a->n, sizeof(*wanted->digests));
	for (size_t i = 0; i < a->n; i++)
		if (a->entries[i].kind == ARTIFACT_FILE && map_remove(missing, a->entries[i].digest))
			wanted->digests[wanted->n++] = a->entries[i].digest;
}

struct sending {
	const struct cli *cli;
	struct content *content;
	uint64_t sent, total;
	struct err err;
};

static ssize_t next_piece(char *bytes, size_t size, void *arg)
{
	struct sending *s = arg;
	ssize_t n = content_read(s->content, bytes, size, &s->err);
	if (n > 0)
		s->sent += (uint64_t)n;
	if (s->total)
		progress_often(s->cli, "uploading: %u%%", (unsigned)(s->sent * 100 / s->total));
	return n;
}

static int send_files(struct cli *cli, const struct source *source, const struct wanted *wanted, struct err *err)
{
	struct sending s = { .cli = cli, .content = content_upload(&source->artifact, source->dir, wanted->digests, wanted->n) };
	s.total = content_size(s.content);
	AUTO_FREE char *path = client_tenant_path(&cli->config, "blobs");
	struct client_request request = {
		.method = "POST",
		.path = path,
		.upload = next_piece,
		.content_type = "application/x-tar",
		.upload_arg = &s,
	};
	char size[SHORT_TEXT_SIZE];
	size_text(s.total, size);
	int r = client_send(cli->client, &request, NULL, err);
	content_free(s.content);
	progress_end();
	if (s.err.code) {
		err_hint(&s.err, "the directory changed while it was read: push again");
		*err = s.err;
	}
	if (r < 0)
		return r;
	step(cli, "uploaded %zu of %zu files, %s", wanted->n, source->artifact.n, size);
	return 0;
}

struct text {
	const char *rest;
	size_t len;
};

static ssize_t next_text(char *bytes, size_t size, void *arg)
{
	struct text *text = arg;
	size_t n = text->len < size ? text->len : size;
	memcpy(bytes, text->rest, n);
	text->rest += n;
	text->len -= n;
	return (ssize_t)n;
}

static int put_manifest(struct cli *cli, const struct artifact *a, struct err *err)
{
	struct text text = { a->text, a->text_len };
	AUTO_FREE char *path = client_tenant_path(&cli->config, "artifacts/%s", a->digest);
	struct client_request request = {
		.method = "PUT",
		.path = path,
		.content_type = "text/plain",
		.upload = next_text,
		.upload_arg = &text,
	};
	return client_send(cli->client, &request, NULL, err);
}

static bool known(struct cli *cli, const char *digest)
{
	AUTO_FREE char *path = client_tenant_path(&cli->config, "artifacts/%s", digest);
	struct client_request request = { .method = "HEAD", .path = path };
	return client_send(cli->client, &request, NULL, NULL) == 0;
}

static bool is_lost(const struct err *err)
{
	return err->code == -ECONNRESET || err->code == -EPIPE || err->code == -ECONNREFUSED;
}

// Asks what is missing and sends that. *err is set unless it was told already.
static int upload_missing(struct cli *cli, const struct source *source, struct err *err)
{
	const struct artifact *a = &source->artifact;
	struct map missing = { 0 };
	struct wanted wanted = { 0 };
	int status = CLI_OK;
	for (size_t from = 0; from < a->n && status == CLI_OK; from += ASK_AT_ONCE)
		status = ask(cli, a, from, from + ASK_AT_ONCE < a->n ? from + ASK_AT_ONCE : a->n, &missing);
	int r = 0;
	if (status == CLI_OK) {
		collect(a, &missing, &wanted);
		if (wanted.n)
			r = send_files(cli, source, &wanted, err);
		if (r == 0)
			r = put_manifest(cli, a, err);
	}
	free(wanted.digests);
	map_clear(&missing);
	return status == CLI_OK && r < 0 ? CLI_FAILED : status;
}

int upload_artifact(struct cli *cli, const struct source *source)
{
	int status = CLI_OK;
	struct err err = { 0 };
	if (known(cli, source->artifact.digest))
		return CLI_OK;
	for (int i = 0; i == 0 || (i < TRIES && is_lost(&err)); i++) {
		err = (struct err){ 0 };
		status = upload_missing(cli, source, &err);
	}
	return err.code ? cli_fail(cli, &err) : status;
}
