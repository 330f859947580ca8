#include "agent/build_result.h"

#include "base/str.h"
#include "client/client.h"
#include "image/artifact.h"
#include "image/content.h"
#include "io/file.h"
#include "model/json.h"

#include <errno.h>
#include <sys/mount.h>

// overlayfs itself knows best what the removals in upper/ mean: mounted read-only, as layers over each other.
static int mount_merged(const struct build_result_spec *spec, const char *merged, struct err *err)
{
	AUTO_FREE char *upper = xasprintf("%s/upper/app", spec->dir);
	AUTO_FREE char *lower = xasprintf("%s/app", spec->source);
	int r = dir_make(merged, 0700, err);
	if (r == 0)
		r = dir_make(upper, 0755, err);
	if (r == 0)
		r = dir_make(lower, 0755, err);
	if (r < 0)
		return r;
	AUTO_FREE char *options = xasprintf("lowerdir=%s:%s", upper, lower);
	if (mount("overlay", merged, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options) < 0)
		return err_set_errno(err, -errno, "cannot see the build's result (overlay of %s over %s)", upper, lower);
	return 0;
}

struct upload {
	struct content *content;
	struct err err;
};

static ssize_t next_piece(char *bytes, size_t size, void *arg)
{
	struct upload *upload = arg;
	return content_read(upload->content, bytes, size, &upload->err);
}

static int send_files(struct client *client, const struct build_result_spec *spec, const struct artifact *a,
		      const char *dir, const json_t *missing, struct err *err)
{
	size_t n = json_array_size(missing);
	if (n == 0)
		return 0;
	AUTO_FREE const char **wanted = xcalloc(n, sizeof(*wanted));
	for (size_t i = 0; i < n; i++) {
		const char *digest = json_string_value(json_array_get(missing, i));
		wanted[i] = digest ? digest : "";
	}
	AUTO_FREE char *path = xasprintf("/v1/tenants/%s/blobs", spec->tenant);
	struct upload upload = { .content = content_upload(a, dir, wanted, n) };
	struct client_request request = {
		.method = "POST",
		.path = path,
		.timeout_ms = 600 * 1000,
		.upload = next_piece,
		.content_type = "application/x-tar",
		.upload_arg = &upload,
	};
	int r = client_send(client, &request, NULL, err);
	if (r < 0 && upload.err.code && err)
		*err = upload.err;
	content_free(upload.content);
	return r;
}

static int ask_missing(struct client *client, const struct build_result_spec *spec, const struct artifact *a,
		       struct client_answer *answer, struct err *err)
{
	AUTO_FREE char *path = xasprintf("/v1/tenants/%s/blobs/missing", spec->tenant);
	AUTO_JSON json_t *body = json_object();
	json_t *digests = json_array();
	json_object_set_new(body, "digests", digests);
	for (size_t i = 0; i < a->n; i++) {
		if (a->entries[i].kind == ARTIFACT_FILE)
			json_array_append_new(digests, json_string(a->entries[i].digest));
	}
	return client_call(client, "POST", path, body, answer, err);
}

struct text_upload {
	const char *at;
	size_t left;
};

static ssize_t next_text(char *bytes, size_t size, void *arg)
{
	struct text_upload *upload = arg;
	size_t n = upload->left < size ? upload->left : size;
	memcpy(bytes, upload->at, n);
	upload->at += n;
	upload->left -= n;
	return (ssize_t)n;
}

static int put_manifest(struct client *client, const struct build_result_spec *spec, const struct artifact *a,
			struct err *err)
{
	AUTO_FREE char *path = xasprintf("/v1/tenants/%s/artifacts/%s", spec->tenant, a->digest);
	struct text_upload upload = { a->text, a->text_len };
	struct client_request request = {
		.method = "PUT",
		.path = path,
		.upload = next_text,
		.content_type = "text/plain; charset=utf-8",
		.upload_arg = &upload,
	};
	return client_send(client, &request, NULL, err);
}

static int send_artifact(const struct build_result_spec *spec, const struct artifact *a, const char *dir, struct err *err)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct client *client = client_new(spec->api, spec->token, err);
	if (!client)
		return err ? err->code : -EINVAL;
	int r = ask_missing(client, spec, a, &answer, err);
	if (r == 0)
		r = send_files(client, spec, a, dir, json_object_get(answer.json, "missing"), err);
	if (r == 0)
		r = put_manifest(client, spec, a, err);
	client_free(client);
	return r < 0 ? err_wrap(err, "cannot store the build's result") : 0;
}

int build_result_upload(const struct build_result_spec *spec, char ret_digest[DIGEST_SIZE], struct err *err)
{
	AUTO_FREE char *merged = xasprintf("%s/merged", spec->dir);
	AUTO_ARTIFACT struct artifact a = { 0 };
	int r = mount_merged(spec, merged, err);
	if (r < 0)
		return r;
	r = artifact_pack(merged, &(struct pack_options){ .no_ignore = true }, &a, err);
	if (r == 0)
		r = send_artifact(spec, &a, merged, err);
	else
		err_wrap(err, "the build's result");
	umount2(merged, MNT_DETACH);
	if (r == 0)
		memcpy(ret_digest, a.digest, DIGEST_SIZE);
	return r;
}
