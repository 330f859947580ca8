#include "model/spec.h"

#include "base/str.h"
#include "model/manifest.h"
#include "model/settle.h"

#include <errno.h>

#define KIB (1ULL << 10)
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define SECOND 1000u
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

#define ENV_BYTES_MAX (256 * KIB)

static const char *const health_types[] = {
	[HEALTH_AUTO] = "auto", [HEALTH_PROCESS] = "process", [HEALTH_TCP] = "tcp", [HEALTH_HTTP] = "http", NULL
};

static const char *check_path(const char *text)
{
	if (*text != '/')
		return "must begin with '/'";
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
			return "must be made of printable ASCII without blanks";
	return NULL;
}

static const struct field health_items[] = {
	FIELD(health, type, FIELD_ENUM, OPTIONAL, 0, 0, .names = health_types, .preset = HEALTH_AUTO,
	      .about = "what ready means; auto: http if there is a path, tcp if there is a port, otherwise process"),
	FIELD(health, path, FIELD_TEXT, OPTIONAL, 1, 1024, .check = check_path,
	      .about = "for http: the path that answers 200 to 399 when the process is ready"),
	FIELD(health, interval_ms, FIELD_MS, OPTIONAL, 100, 10 * MINUTE, .human = "interval", .preset = 5 * SECOND),
	FIELD(health, timeout_ms, FIELD_MS, OPTIONAL, 50, 5 * MINUTE, .human = "timeout", .preset = 2 * SECOND),
	FIELD(health, grace_ms, FIELD_MS, OPTIONAL, 0, HOUR, .human = "grace", .preset = 60 * SECOND,
	      .about = "after the start: failing probes do not count"),
};
const struct fields health_fields = FIELDS(health, health_items, "Health", .shorthand = "type");

static const char *const restart_policies[] = {
	[RESTART_ALWAYS] = "always", [RESTART_ON_FAILURE] = "on-failure", [RESTART_NEVER] = "never", NULL
};

static int restart_finish(void *object, struct field_path *path, struct err *err)
{
	struct restart *restart = object;
	if (restart->cap_ms >= restart->backoff_ms)
		return 0;
	snprintf(path->text, sizeof(path->text), "cap_ms");
	return err_set(err, -EINVAL, "must not be shorter than the first back-off");
}

static const struct field restart_items[] = {
	FIELD(restart, policy, FIELD_ENUM, OPTIONAL, 0, 0, .names = restart_policies, .preset = RESTART_ALWAYS),
	FIELD(restart, backoff_ms, FIELD_MS, OPTIONAL, 10, 10 * MINUTE, .human = "backoff", .preset = SECOND,
	      .about = "before the second restart in a row; it doubles from there"),
	FIELD(restart, cap_ms, FIELD_MS, OPTIONAL, 10, HOUR, .human = "cap", .preset = MINUTE,
	      .about = "of the doubling"),
	FIELD(restart, reset_ms, FIELD_MS, OPTIONAL, SECOND, 24 * HOUR, .human = "reset", .preset = MINUTE,
	      .about = "a run this long starts the count anew"),
};
const struct fields restart_fields =
	FIELDS(restart, restart_items, "Restart", .shorthand = "policy", .finish = restart_finish);

static const struct field build_items[] = {
	FIELD(build, command, FIELD_TEXT, OPTIONAL, 1, 8 * KIB),
	FIELD(build, timeout_ms, FIELD_MS, OPTIONAL, SECOND, BUILD_TIMEOUT_MAX_MS, .human = "timeout",
	      .preset = BUILD_TIMEOUT_DEFAULT_MS),
	FIELD(build, memory_bytes, FIELD_BYTES, OPTIONAL, 16 * MIB, 1024 * GIB, .human = "memory", .preset = GIB),
};
const struct fields build_fields = FIELDS(build, build_items, "Build", .shorthand = "command");

static int health_settle(struct process *process, struct field_path *path, struct err *err)
{
	struct health *health = &process->health;
	if (health->type == HEALTH_AUTO)
		health->type = health->path ? HEALTH_HTTP : process->port ? HEALTH_TCP : HEALTH_PROCESS;
	snprintf(path->text, sizeof(path->text), "health");
	if (health->type != HEALTH_PROCESS && !process->port) {
		err_set(err, -EINVAL, "%s needs a port, and this process has none", health_types[health->type]);
		return err_hint(err, "give the process a port, or use health type 'process'");
	}
	if (health->type != HEALTH_HTTP && health->path)
		return err_set(err, -EINVAL, "a path goes with type http, not with %s", health_types[health->type]);
	if (health->type == HEALTH_HTTP && !health->path)
		health->path = xstrdup("/");
	return 0;
}

void process_settle_port(struct process *process)
{
	if (process->port == PORT_UNSET)
		process->port = str_eq(process->name, "web") ? PORT_DEFAULT : 0;
}

static int process_finish(void *object, struct field_path *path, struct err *err)
{
	struct process *process = object;
	process_settle_port(process);
	return health_settle(process, path, err);
}

static const struct field process_items[] = {
	FIELD(process, command, FIELD_TEXT, OPTIONAL, 1, 8 * KIB,
	      .about = "split into words by the platform, without a shell; the runtime's own command when left out"),
	FIELD(process, port, FIELD_U32, OPTIONAL, 0, 65535, .preset = PORT_UNSET,
	      .about = "where it listens, also its $PORT; 8080 for web, none (0) for others"),
	FIELD(process, instances, FIELD_U32, OPTIONAL, 0, PROCESS_INSTANCES_MAX, .preset = 1),
	FIELD(process, memory_bytes, FIELD_BYTES, OPTIONAL, 4 * MIB, 1024 * GIB, .human = "memory",
	      .preset = 256 * MIB),
	FIELD(process, cpu_millis, FIELD_CPU, OPTIONAL, 10, 256 * 1000, .human = "cpu", .preset = 500),
	FIELD(process, disk_bytes, FIELD_BYTES, OPTIONAL, 8 * MIB, 1024 * GIB, .human = "disk", .preset = 256 * MIB,
	      .about = "writable scratch, on disk; gone when the instance is"),
	FIELD(process, health, FIELD_OBJECT, OPTIONAL | INHERITED, 0, 0, .of = &health_fields),
	FIELD(process, drain_ms, FIELD_MS, OPTIONAL | INHERITED, 0, HOUR, .human = "drain", .preset = 10 * SECOND,
	      .about = "how long requests in flight, and then the process after SIGTERM, may take"),
	FIELD(process, restart, FIELD_OBJECT, OPTIONAL | INHERITED, 0, 0, .of = &restart_fields),
};
const struct fields process_fields =
	FIELDS(process, process_items, "Process", .shorthand = "command", .finish = process_finish);

static const char *check_process_name(const char *text)
{
	return str_is_label(text) && strlen(text) <= 32 ? NULL
							: "must be 1 to 32 of a-z, 0-9 and '-' (not at either end)";
}

// Labels with dots between them (RFC 1123), in lower case.
static const char *check_host(const char *text)
{
	static const char wrong[] = "must be a host name in lower case, as in shop or shop.example.org";
	char label[64];
	for (;;) {
		size_t n = strcspn(text, ".");
		if (n >= sizeof(label))
			return wrong;
		memcpy(label, text, n);
		label[n] = '\0';
		if (!str_is_label(label))
			return wrong;
		if (!text[n])
			return NULL;
		text += n + 1;
	}
}

static const char *check_segment(const char *segment, size_t n)
{
	if (n == 0)
		return "must not have an empty segment ('//')";
	bool dots = segment[0] == '.' && (n == 1 || (n == 2 && segment[1] == '.'));
	return dots ? "must not have a segment '.' or '..'" : NULL;
}

// Requests are matched by whole segments, as they were sent: a path that clients send in another form, or resolve
// before they send it, would never be matched. RFC 3986, 3.3, without the escapes; '*' would be taken for a wildcard.
static const char *check_route_path(const char *text)
{
	static const char possible[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-._~!$&'()+,;=:@";
	if (*text != '/')
		return "must begin with '/'";
	if (text[strspn(text, possible)])
		return "must be made of letters, digits and -._~!$&'()+,;=:@ between slashes, without % escapes";
	for (const char *at = text; *at && text[1];) {
		size_t n = strcspn(at + 1, "/");
		if (!n && !at[1])
			return "must not end with '/': without it, all below it is meant as well";
		const char *wrong = check_segment(at + 1, n);
		if (wrong)
			return wrong;
		at += 1 + n;
	}
	return NULL;
}

static int route_finish(void *object, struct field_path *path UNUSED, struct err *err UNUSED)
{
	struct spec_route *route = object;
	if (!route->path)
		route->path = xstrdup("/");
	return 0;
}

// "HOST" or "HOST/PATH".
static const char *route_from_text(void *object, const char *text)
{
	struct spec_route *route = object;
	if (strstr(text, "://"))
		return "must be HOST or HOST/PATH, without http://";
	size_t n = strcspn(text, "/");
	route->host = xstrndup(text, n);
	route->path = xstrdup(text[n] ? text + n : "/");
	const char *wrong = check_host(route->host);
	if (!wrong && n > 253)
		wrong = "must be at most 253 bytes long";
	if (!wrong && strlen(route->path) > 1024)
		wrong = "must have a path of at most 1024 bytes";
	return wrong ? wrong : check_route_path(route->path);
}

static const struct field route_items[] = {
	FIELD(spec_route, host, FIELD_TEXT, REQUIRED | IDENTITY, 1, 253, .check = check_host,
	      .about = "a full host name, or one label to which the platform adds its domain"),
	FIELD(spec_route, path, FIELD_TEXT, OPTIONAL | IDENTITY, 1, 1024, .check = check_route_path),
};
const struct fields spec_route_fields =
	FIELDS(spec_route, route_items, "SpecRoute", .from_text = route_from_text, .finish = route_finish);

const char *spec_check_env_name(const char *text)
{
	if (str_eq(text, "PORT"))
		return "is set by the platform: use the process's port";
	if (str_starts(text, "DIALTONE_"))
		return "is kept for the platform";
	return check_env_name(text);
}

static int check_routes(const struct spec *spec, struct field_path *path, struct err *err)
{
	if (!spec->route_count)
		return 0;
	snprintf(path->text, sizeof(path->text), "routes");
	const struct process *web = spec_process(spec, "web");
	if (!web || !web->port) {
		err_set(err, -EINVAL, "routes lead to the process 'web' with a port, and there is none");
		return err_hint(err, "name the process that serves them 'web', or leave the routes out");
	}
	for (uint32_t i = 0; i < spec->route_count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (str_eq(spec->routes[i].host, spec->routes[j].host) &&
			    str_eq(spec->routes[i].path, spec->routes[j].path))
				return err_set(err, -EINVAL, "'%.253s%.253s' is given twice", spec->routes[i].host,
					       spec->routes[i].path);
	return 0;
}

static int check_env_size(const struct spec *spec, struct field_path *path, struct err *err)
{
	size_t bytes = 0;
	for (uint32_t i = 0; i < spec->env_count; i++)
		bytes += strlen(spec->env[i].name) + strlen(spec->env[i].value) + 2;
	if (bytes <= ENV_BYTES_MAX)
		return 0;
	snprintf(path->text, sizeof(path->text), "env");
	return err_set(err, -EINVAL, "has %zu bytes in all, at most %llu are possible", bytes, ENV_BYTES_MAX);
}

static int spec_finish(void *object, struct field_path *path, struct err *err)
{
	const struct spec *spec = object;
	int r = check_routes(spec, path, err);
	return r < 0 ? r : check_env_size(spec, path, err);
}

static const struct field spec_items[] = {
	FIELD(spec, name, FIELD_LABEL, REQUIRED, 1, 63),
	FIELD(spec, runtime, FIELD_TEXT, OPTIONAL, 1, 128, .check = check_versioned,
	      .about = "NAME or NAME@VERSION, as in node@20; none: the app brings its own libraries"),
	FIELD(spec, stack, FIELD_TEXT, OPTIONAL, 1, 128, .check = check_versioned,
	      .about = "NAME or NAME@VERSION of the base image"),
	FIELD(spec, build, FIELD_OBJECT, OPTIONAL, 0, 0, .of = &build_fields),
	FIELD_LIST(spec, processes, process_count, FIELD_MAP, OPTIONAL, 32, .of = &process_fields,
		   .check = check_process_name),
	FIELD_LIST(spec, env, env_count, FIELD_MAP, OPTIONAL, 1000, .of = &env_value_fields,
		   .check = spec_check_env_name),
	FIELD_LIST(spec, routes, route_count, FIELD_ARRAY, OPTIONAL, 64, .of = &spec_route_fields),
};
const struct fields spec_fields =
	FIELDS(spec, spec_items, "Spec", .finish = spec_finish, .about = "what an application team asks for");

struct process *spec_process(const struct spec *spec, const char *name)
{
	for (uint32_t i = 0; i < spec->process_count; i++)
		if (str_eq(spec->processes[i].name, name))
			return &spec->processes[i];
	return NULL;
}

const char *check_versioned(const char *text)
{
	static const char wrong[] = "must be NAME or NAME@VERSION, as in node@20";
	const char *at = strchr(text, '@');
	char name[64];
	size_t n = at ? (size_t)(at - text) : strlen(text);
	if (n >= sizeof(name))
		return wrong;
	memcpy(name, text, n);
	name[n] = '\0';
	if (!str_is_label(name))
		return wrong;
	if (!at)
		return NULL;
	size_t version = strspn(at + 1, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._+-");
	return version && version <= 64 && !at[1 + version] && at[1] != '.' && at[1] != '-' ? NULL : wrong;
}
