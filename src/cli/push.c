#include "cli/commands.h"
#include "cli/output.h"
#include "cli/source.h"
#include "cli/upload.h"
#include "cli/wait.h"

#include "base/str.h"

#include <errno.h>

#define TAIL_BYTES (32 << 10)

struct building {
	struct cli *cli;
	char *artifact;   // of the result
	bool inside_line; // the last output did not end with a newline
	bool heard;       // it wrote something
	struct buf tail;  // of the output when it is not shown, for the case that it fails
	json_t *failed;   // NULL: it did not
};

// Output comes in pieces that may end anywhere.
static void print_output(struct building *b, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		AUTO_FREE char *piece = xstrndup(text, n);
		if (!b->inside_line)
			fputs("  | ", stderr);
		print_safe(stderr, piece);
		b->inside_line = text[n] != '\n';
		if (!b->inside_line)
			putc('\n', stderr);
		text += n + !b->inside_line;
	}
}

static void keep_output(struct building *b, const char *text)
{
	size_t n = strlen(text);
	if (n > TAIL_BYTES)
		text += n - TAIL_BYTES;
	n = strlen(text);
	if (buf_len(&b->tail) + n > TAIL_BYTES)
		buf_consume(&b->tail, buf_len(&b->tail) + n - TAIL_BYTES);
	buf_add(&b->tail, text, n);
}

static void end_output(struct building *b)
{
	if (b->inside_line)
		putc('\n', stderr);
	b->inside_line = false;
}

static void print_tail(void *arg)
{
	struct building *b = arg;
	print_output(b, buf_str(&b->tail));
	end_output(b);
}

// "exit status 9" for what failed by itself; the agent's own words for the rest.
static void name_status(const json_t *failed, struct err *err)
{
	if (!get_number(failed, "exit"))
		return;
	char words[128];
	json_t *exit = json_pack("{s:I}", "status", (json_int_t)get_number(failed, "exit"));
	exit_words(exit, words, sizeof(words));
	json_decref(exit);
	err_set(err, -EIO, "the build failed: %s: %s", get_text(failed, "detail"), words);
}

static bool app_is_there(struct cli *cli, const char *name)
{
	AUTO_FREE char *path = app_path(cli, name, NULL);
	return client_call(cli->client, "GET", path, NULL, NULL, NULL) == 0;
}

static int build_failed(struct building *b, const char *app)
{
	struct err err = { 0 };
	err_set(&err, -EIO, "the build failed: %s", get_text(b->failed, "detail"));
	name_status(b->failed, &err);
	err_hint(&err, "%snothing was deployed%s", b->heard ? "its output is above; " : "",
		 app_is_there(b->cli, app) ? "; what ran before goes on" : "");
	json_t *output = json_string(buf_str(&b->tail));
	return cli_report(CLI_BUILD, &err, output ? json_pack("{s:o}", "output", output) : NULL,
			  buf_len(&b->tail) ? print_tail : NULL, b);
}

static int on_build(const struct sse_event *event, void *arg)
{
	struct building *b = arg;
	json_t *data = json_loadb(event->data, event->data_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	int r = 0;
	if (str_eq(event->event, "output")) {
		b->heard = true;
		(b->cli->quiet ? keep_output : print_output)(b, get_text(data, "text"));
	} else if (str_eq(event->event, "result")) {
		end_output(b);
		b->artifact = xstrdup(get_text(data, "artifact"));
		if (get_flag(data, "cached"))
			step(b->cli, "build: nothing it depends on has changed, the earlier result is used");
		r = 1;
	} else if (str_eq(event->event, "failed")) {
		end_output(b);
		b->failed = json_incref(data);
		r = 1;
	}
	json_decref(data);
	return r;
}

static json_t *build_request(const struct source *source)
{
	const struct spec *spec = &source->spec;
	json_t *body =
		json_pack("{s:s, s:s, s:s, s:I, s:I}", "artifact", source->artifact.digest, "runtime",
			  spec->runtime ? spec->runtime : "none", "command", spec->build.command, "timeout_ms",
			  (json_int_t)spec->build.timeout_ms, "memory_bytes", (json_int_t)spec->build.memory_bytes);
	if (spec->stack)
		json_object_set_new(body, "stack", json_string(spec->stack));
	return body;
}

// Runs the spec's build command over the uploaded artifact; *ret_artifact is what came out.
static int build(struct cli *cli, const struct source *source, char **ret_artifact)
{
	step(cli, "building: %s", source->spec.build.command);
	cli_interrupt_says("interrupted: the build is stopped, and nothing was deployed");
	json_t *body = build_request(source);
	AUTO_FREE char *path = client_tenant_path(&cli->config, "builds");
	struct building b = { .cli = cli, .tail = BUF_INIT(TAIL_BYTES + 1) };
	struct client_stream stream = {
		.request = { .method = "POST", .path = path, .body = body, .timeout_ms = 60000 },
		.on_event = on_build,
		.arg = &b,
	};
	struct err err = { 0 };
	int r = client_stream(cli->client, &stream, &err);
	json_decref(body);
	int status = r < 0 ? cli_fail(cli, &err) : b.failed ? build_failed(&b, source->spec.name) : CLI_OK;
	json_decref(b.failed);
	buf_clear(&b.tail);
	*ret_artifact = b.artifact;
	return status;
}

static json_t *wanted_of(const struct source *source, const char *artifact)
{
	return json_pack("{s:o, s:s}", "spec", spec_write(&source->spec), "artifact", artifact);
}

static int print_result(struct cli *cli, const char *name, bool changed)
{
	AUTO_FREE char *path = app_path(cli, name, NULL);
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", path, NULL, &answer);
	if (status != CLI_OK)
		return status;
	if (cli->json) {
		json_object_set_new(answer.json, "changed", json_boolean(changed));
		return print_json(answer.json);
	}
	if (!changed)
		printf("%s is unchanged, release %u\n", name, (unsigned)get_number(answer.json, "release"));
	else
		printf("%s %s release %u\n", name, cli_get(cli, "no-wait") ? "will run" : done_words(answer.json),
		       (unsigned)get_number(answer.json, "release"));
	size_t i;
	json_t *url;
	json_array_foreach(json_object_get(answer.json, "urls"), i, url) printf("  %s\n", json_string_value(url));
	return CLI_OK;
}

// The server checks what the CLI cannot: whether the runtime is there, whether the stack has a shell for the command.
static int call_with_spec(struct cli *cli, const struct source *source, const struct client_request *request,
			  struct client_answer *answer)
{
	struct err err = { 0 };
	if (client_send(cli->client, request, answer, &err) == 0)
		return CLI_OK;
	if (answer->status != 400 && answer->status != 422)
		return cli_fail(cli, &err);
	source_place(source, get_text(answer->json, "field"), &err);
	return cli_report(CLI_MANIFEST, &err, NULL, NULL, NULL);
}

static int ask_plan(struct cli *cli, const struct source *source, struct client_answer *answer)
{
	AUTO_FREE char *path = app_path(cli, source->spec.name, "plan");
	json_t *body = wanted_of(source, source->artifact.digest);
	struct client_request request = { .method = "POST", .path = path, .body = body, .repeatable = true };
	int status = call_with_spec(cli, source, &request, answer);
	json_decref(body);
	return status;
}

// Before an upload and a build that may take minutes: what would be refused after them is refused now.
static int check(struct cli *cli, const struct source *source)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	return ask_plan(cli, source, &answer);
}

static int deploy(struct cli *cli, const struct source *source, const char *artifact)
{
	AUTO_FREE char *path = app_path(cli, source->spec.name, NULL);
	json_t *body = wanted_of(source, artifact);
	struct client_request request = { .method = "PUT", .path = path, .body = body, .repeatable = true };
	AUTO_ANSWER struct client_answer answer = { 0 };
	cli_interrupt_says("interrupted: it is not known whether the platform took it; 'dialtone app %s' shows",
			   source->spec.name);
	int status = call_with_spec(cli, source, &request, &answer);
	json_decref(body);
	if (status != CLI_OK)
		return status;
	bool changed = get_flag(answer.json, "changed");
	status = wait_until_settled(cli, source->spec.name, get_number(answer.json, "release"));
	return status == CLI_OK ? print_result(cli, source->spec.name, changed) : status;
}

int command_push(struct cli *cli)
{
	AUTO_SOURCE struct source source = { 0 };
	AUTO_FREE char *built = NULL;
	cli_interrupt_says("interrupted: nothing was deployed");
	int status = source_read(cli, &source);
	if (status == CLI_OK)
		status = check(cli, &source);
	if (status == CLI_OK)
		status = upload_artifact(cli, &source);
	if (status == CLI_OK && source.spec.build.command)
		status = build(cli, &source, &built);
	if (status == CLI_OK)
		status = deploy(cli, &source, built ? built : source.artifact.digest);
	return status;
}

static void change_cell(struct listing *t, const char *value)
{
	char text[200];
	value_text(value ? value : "", text, sizeof(text));
	listing_cell(t, "%s", text);
}

static void print_changes(struct cli *cli, const char *name, const json_t *changes)
{
	if (!json_array_size(changes)) {
		printf("%s: a push would change nothing\n", name);
		return;
	}
	static const char *const titles[] = { "", "what", "now", "after the push", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *change;
	json_array_foreach((json_t *)changes, i, change)
	{
		const char *before = json_string_value(json_object_get(change, "before"));
		const char *after = json_string_value(json_object_get(change, "after"));
		listing_cell(t, "%s", !before ? "+" : !after ? "-" : "~");
		listing_cell(t, "%s", get_text(change, "path"));
		change_cell(t, before);
		change_cell(t, after);
	}
	listing_end(t, "");
}

// The build is not run: its command and its source are shown as they would change.
int command_plan(struct cli *cli)
{
	AUTO_SOURCE struct source source = { 0 };
	int status = source_read(cli, &source);
	if (status != CLI_OK)
		return status;
	AUTO_ANSWER struct client_answer answer = { 0 };
	status = ask_plan(cli, &source, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);
	print_changes(cli, source.spec.name, json_object_get(answer.json, "changes"));
	return CLI_OK;
}
