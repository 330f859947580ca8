// Builds: a container of the runtime's build parts over the build stack, with the source writable at /app and the
// machine's network; its output goes out as events, its result into the tenant's blobs.
#include "agent/build_host.h"
#include "agent/build_result.h"
#include "agent/endpoint.h"
#include "agent/text.h"
#include "agent/visitor.h"
#include "base/log.h"
#include "base/str.h"
#include "http/sse.h"
#include "image/content.h"
#include "image/layer.h"
#include "image/stack.h"
#include "model/command.h"
#include "model/json.h"

#include <errno.h>
#include <fcntl.h>

enum { PING_MS = 15000, PULL_EVERY_MS = 20, PULL_AT_MOST_MS = 60 * 1000, PIECE = 16 << 10, BUILD_PIDS = 4096 };
static const uint64_t BUILD_DISK = 2ull << 30; // what is used of it, not what is there, is taken
#define BUILD_MEMORY_DEFAULT (2ull << 30)

struct building {
	struct list link; // agent->streams
	struct agent *agent;
	struct http_exchange *x; // NULL: the other end has gone
	char *tenant, *runtime, *command;
	struct assignment source; // tenant and artifact only: what is to be pulled
	uint64_t memory_bytes;
	unsigned timeout_ms;
	struct visitor *visitor;
	struct visitor_spec spec; // being prepared
	uint32_t address;
	unsigned waited_ms; // for the source
	struct timer again, ping;
	struct poll output;
	int output_fd; // -1: closed
	bool full;
	bool working; // a job runs
	bool ended;   // the container is
	int status;
	bool oom;
	struct err err;
	char digest[DIGEST_SIZE];
	char *addresses; // of the servers, for the upload
	int result;
};

static void build_free(struct building *build)
{
	list_remove(&build->link);
	timer_clear(&build->again);
	timer_clear(&build->ping);
	poll_stop(&build->output);
	cleanup_close(&build->output_fd);
	assignment_clear(&build->source);
	free(build->tenant);
	free(build->runtime);
	free(build->command);
	free(build->addresses);
	free(build);
}

static void put_event(struct building *build, const char *event, json_t *json)
{
	AUTO_FREE char *text = json_dumps(json, JSON_COMPACT);
	AUTO_BUF struct buf out = BUF_INIT(1 << 20);
	json_decref(json);
	if (build->x && text && sse_write(&out, event, NULL, text, strlen(text)) == 0)
		build->full = http_respond_write(build->x, buf_data(&out), buf_len(&out)) > HTTP_HIGH_WATER;
}

static void finish(struct building *build)
{
	timer_stop(&build->ping); // nothing may follow the end of the answer
	if (build->x)
		http_respond_end(build->x);
	else
		build_free(build);
}

static void fail(struct building *build, const struct err *err)
{
	json_t *json = json_pack("{s:s}", "detail", err->text);
	if (err->hint[0])
		json_object_set_new(json, "hint", json_string(err->hint));
	put_event(build, "failed", json);
	finish(build);
}

static void x_gone(struct http_exchange *x, bool complete UNUSED)
{
	struct building *build = http_exchange_arg(x);
	build->x = NULL;
	if (build->full && build->output_fd >= 0) // nobody waits to take it any more: it runs out here
		poll_set(&build->output, POLL_READ);
	if (build->visitor)
		visitor_kill(build->visitor);
	else if (!build->working)
		build_free(build);
}

// ---- The end ----

static void upload_work(void *arg)
{
	struct building *build = arg;
	AUTO_FREE char *dir = xasprintf("%s/node/artifacts", build->agent->platform.data);
	AUTO_FREE char *unpacked = unpacked_path(dir, build->source.artifact);
	AUTO_FREE char *source = xasprintf("%s/root", unpacked);
	struct build_result_spec spec = {
		.api = build->addresses,
		.token = build->agent->token,
		.tenant = build->tenant,
		.source = source,
		.dir = visitor_dir(build->visitor),
	};
	build->result = build_result_upload(&spec, build->digest, &build->err);
}

static void uploaded(void *arg)
{
	struct building *build = arg;
	build->working = false;
	visitor_release(TAKE_PTR(build->visitor));
	if (build->result < 0) {
		fail(build, &build->err);
		return;
	}
	log_info("tenant=%s build result=%s", build->tenant, build->digest);
	put_event(build, "result", json_pack("{s:s}", "artifact", build->digest));
	finish(build);
}

static void judge(struct building *build)
{
	if (build->err.code || !build->x) {
		visitor_release(TAKE_PTR(build->visitor));
		fail(build, &build->err);
	} else if (build->status != 0) {
		visitor_release(TAKE_PTR(build->visitor));
		const char *detail = build->oom ? "the build used more than its memory limit" : "the build command failed";
		put_event(build, "failed", json_pack("{s:s, s:i}", "detail", detail, "exit", build->status));
		finish(build);
	} else {
		build->working = true;
		build->addresses = client_servers_addresses(build->agent->servers);
		loop_work(build->agent->loop, upload_work, uploaded, build);
	}
}

static void maybe_over(struct building *build)
{
	if (build->ended && build->output_fd < 0)
		judge(build);
}

static void on_ended(struct visitor *visitor, int status, bool oom, const struct err *err)
{
	struct building *build = visitor_arg(visitor);
	visitor_hold(visitor);
	build->ended = true;
	build->status = status;
	build->oom = oom;
	if (err)
		build->err = *err;
	maybe_over(build);
}

// ---- Its output ----

static void close_output(struct building *build)
{
	poll_stop(&build->output);
	cleanup_close(&build->output_fd);
	build->output_fd = -1;
	maybe_over(build);
}

static void output_ready(struct poll *poll, int events UNUSED)
{
	struct building *build = CONTAINER_OF(poll, struct building, output);
	char bytes[PIECE];
	ssize_t n = read(build->output_fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_output(build);
		return;
	}
	AUTO_FREE char *text = text_clean(bytes, (size_t)n);
	put_event(build, "output", json_pack("{s:s}", "text", text));
	if (build->full && build->x)
		poll_set(&build->output, 0);
}

static void drained(struct http_exchange *x)
{
	struct building *build = http_exchange_arg(x);
	build->full = false;
	if (build->output_fd >= 0)
		poll_set(&build->output, POLL_READ);
}

static void ping(struct timer *timer)
{
	struct building *build = CONTAINER_OF(timer, struct building, ping);
	if (build->x && !build->full)
		http_respond_write(build->x, ":\n\n", 3);
	timer_set(timer, PING_MS);
}

static void on_started(struct visitor *visitor, int tty_fd UNUSED)
{
	struct building *build = visitor_arg(visitor);
	if (!build->x)
		visitor_kill(visitor);
}

// ---- The beginning ----

static void add_layers(struct visitor_spec *spec, const char *cache, char *const *digests, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		spec->layers = xreallocarray(spec->layers, spec->n_layers + 1, sizeof(*spec->layers));
		spec->layers[spec->n_layers++] = layer_path(cache, digests[i]);
	}
}

struct build_env {
	struct pair *pairs;
	uint32_t n;
};

static void add_env(struct build_env *env, const struct env_pair *pairs, size_t n)
{
	env->pairs = xreallocarray(env->pairs, env->n + n + 1, sizeof(*env->pairs));
	for (size_t i = 0; i < n; i++)
		env->pairs[env->n++] = (struct pair){ pairs[i].name, pairs[i].value };
}

// Values are borrowed. The first to say a name is right: the machine, then the runtime's build part, the runtime, the stack.
static void collect_env(struct build_env *env, const struct build_host *host, const struct image *runtime,
			const struct image *stack)
{
	static const struct env_pair fixed[] = {
		{ (char *)"HOME", (char *)"/root" }, { (char *)"USER", (char *)"root" }, { (char *)"CI", (char *)"true" }
	};
	env->pairs = xcalloc(host->n_env + 1, sizeof(*env->pairs));
	for (uint32_t i = 0; i < host->n_env; i++)
		env->pairs[env->n++] = host->env[i];
	add_env(env, fixed, ARRAY_LEN(fixed));
	add_env(env, runtime->build_env, runtime->n_build_env);
	add_env(env, runtime->env, runtime->n_env);
	add_env(env, stack->env, stack->n_env);
}

static int split(const struct building *build, bool shell, struct words *ret, struct err *err)
{
	int r = command_split(build->command, shell, ret, err);
	if (r < 0)
		return err_wrap(err, "build command");
	ret->items = xreallocarray(ret->items, ret->count + 1, sizeof(*ret->items));
	ret->items[ret->count] = NULL;
	return 0;
}

static int prepare_launch(struct building *build, const struct image *runtime, const struct image *stack, struct err *err)
{
	struct build_host host;
	struct build_env env = { 0 };
	struct words words = { 0 };
	struct assignment nobody = {
		.instance = (char *)"build",	  .tenant = build->tenant, .environment = (char *)"build",
		.app = (char *)"build",		  .process = (char *)"build",
	};
	build_host_read(&host);
	collect_env(&env, &host, runtime, stack);
	int r = split(build, stack->has_shell, &words, err);
	if (r == 0)
		r = launch_prepare(&nobody, "127.0.0.1", env.pairs, env.n, (const char *const *)words.items,
				   &build->spec.launch, err);
	if (r == 0)
		launch_machine_dns(&build->spec.launch);
	words_clear(&words);
	free(env.pairs);
	build->spec.binds = TAKE_PTR(host.binds);
	build->spec.n_binds = host.n_binds;
	host.n_binds = 0;
	build_host_clear(&host);
	return r;
}

static int find_images(struct building *build, struct image *runtime, struct image *stack, struct err *err)
{
	const char *cache = build->agent->platform.cache;
	int r = runtime_find(cache, build->runtime, runtime, err);
	if (r == 0 && !runtime->build_ready) {
		err_set(err, -ENOENT, "the build part of runtime %s is not in the cache", runtime->name);
		r = err_hint(err, "run 'dialtone runtime build %s'", build->runtime);
	}
	return r < 0 ? r : stack_find(cache, runtime->build_stack ? runtime->build_stack : "build", stack, err);
}

// On a pool thread: the cache is read.
static int prepare(struct building *build, struct err *err)
{
	const char *cache = build->agent->platform.cache;
	AUTO_IMAGE struct image runtime = { 0 };
	AUTO_IMAGE struct image stack = { 0 };
	int r = find_images(build, &runtime, &stack, err);
	if (r < 0)
		return r;
	build->spec.layers = artifacts_layers(&build->agent->artifacts, &build->source, &build->spec.n_layers);
	add_layers(&build->spec, cache, runtime.build_layers, runtime.n_build_layers);
	add_layers(&build->spec, cache, runtime.layers, runtime.n_layers);
	add_layers(&build->spec, cache, stack.layers, stack.n_layers);
	return prepare_launch(build, &runtime, &stack, err);
}

static int open_output(struct building *build, struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set_errno(err, -errno, "pipe");
	build->output_fd = ends[0];
	build->spec.stdout_fd = ends[1];
	build->spec.stderr_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	return poll_start(&build->output, build->agent->loop, ends[0], POLL_READ, output_ready);
}

static int begin(struct building *build, struct err *err)
{
	int r = visitor_address(build->agent, &build->address, err);
	if (r < 0)
		return r;
	struct visitor_spec *spec = &build->spec;
	spec->kind = "build";
	spec->environment = xasprintf("%s/build", build->tenant);
	spec->cwd = APP_DIR;
	spec->memory_bytes = build->memory_bytes;
	spec->disk_bytes = BUILD_DISK;
	spec->pids = BUILD_PIDS;
	spec->host_network = spec->writable = true;
	spec->timeout_ms = build->timeout_ms;
	spec->on_started = on_started;
	spec->on_ended = on_ended;
	spec->arg = build;
	r = open_output(build, err);
	log_info("tenant=%s build runtime=%s command=%s", build->tenant, build->runtime, build->command);
	build->visitor = visitor_new(build->agent, build->address, spec);
	return r;
}

static void prepare_work(void *arg)
{
	struct building *build = arg;
	build->result = prepare(build, &build->err);
}

static void prepared(void *arg)
{
	struct building *build = arg;
	build->working = false;
	int r = build->result;
	if (r == 0 && build->x)
		r = begin(build, &build->err);
	if (build->visitor) {
		if (r < 0)
			visitor_kill(build->visitor);
		return;
	}
	visitor_spec_clear(&build->spec);
	if (r < 0 || !build->x)
		fail(build, &build->err);
}

static void pull(struct timer *timer)
{
	struct building *build = CONTAINER_OF(timer, struct building, again);
	struct err err = { 0 };
	if (!build->x) {
		build_free(build);
		return;
	}
	int r = artifacts_pull(&build->agent->artifacts, &build->source, &err);
	bool away = r == -EAGAIN && (build->waited_ms += PULL_EVERY_MS) < PULL_AT_MOST_MS;
	if (r == -EINPROGRESS || away) {
		timer_set(timer, PULL_EVERY_MS);
	} else if (r < 0) {
		fail(build, &err);
	} else {
		build->working = true;
		loop_work(build->agent->loop, prepare_work, prepared, build);
	}
}

static char *text_of(const json_t *json, const char *name)
{
	const char *text = json_get_text(json, name, NULL);
	return text ? xstrdup(text) : NULL;
}

static int parse(struct building *build, const json_t *json, struct err *err)
{
	build->tenant = text_of(json, "tenant");
	build->runtime = text_of(json, "runtime");
	build->command = text_of(json, "command");
	build->source.tenant = text_of(json, "tenant");
	build->source.artifact = text_of(json, "artifact");
	build->memory_bytes = json_get_u64(json, "memory_bytes", 0);
	build->timeout_ms = (unsigned)json_get_u64(json, "timeout_ms", 0);
	if (!build->memory_bytes)
		build->memory_bytes = BUILD_MEMORY_DEFAULT;
	if (!build->timeout_ms)
		build->timeout_ms = BUILD_TIMEOUT_DEFAULT_MS;
	if (str_empty(build->command) || !build->runtime || !build->tenant || !str_is_label(build->tenant))
		return err_set(err, -EINVAL, "tenant, runtime and command are needed");
	if (!build->source.artifact || !digest_valid(build->source.artifact))
		return err_set(err, -EINVAL, "artifact must be a digest");
	return 0;
}

static void body_came(struct http_exchange *x, const char *body, size_t n)
{
	struct agent *agent = http_exchange_arg(x);
	AUTO_JSON json_t *json = answer_body(x, body, n);
	if (!json)
		return;
	struct err err = { 0 };
	struct building *build = xcalloc(1, sizeof(*build));
	*build = (struct building){ .agent = agent, .x = x, .output_fd = -1 };
	build->spec.stdin_fd = build->spec.stdout_fd = build->spec.stderr_fd = -1;
	list_append(&agent->streams, &build->link);
	timer_init(&build->again, agent->loop, pull);
	timer_init(&build->ping, agent->loop, ping);
	if (parse(build, json, &err) < 0) {
		build_free(build);
		answer_problem(x, 400, &err);
		return;
	}
	http_exchange_set_arg(x, build);
	http_exchange_on_gone(x, x_gone);
	http_exchange_on_drain(x, drained);
	http_respond_start(x, 200, "text/event-stream");
	timer_set(&build->ping, PING_MS);
	timer_set(&build->again, 0);
}

void endpoint_build(struct agent *agent, struct http_exchange *x)
{
	http_exchange_set_arg(x, agent);
	http_exchange_read_body(x, 1 << 20, body_came);
}
