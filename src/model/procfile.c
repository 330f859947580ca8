// Specs from little: a Procfile, or no file at all; and what every spec gets that nobody wrote.
#include "model/manifest.h"

#include "base/str.h"
#include "model/field.h"
#include "model/settle.h"

#include <assert.h>
#include <errno.h>

static const struct field *spec_field(const char *name)
{
	const char *ignored = NULL;
	const struct field *field = field_find(&spec_fields, name, false, &ignored);
	assert(field);
	return field;
}

static void finish_process(struct process *process)
{
	struct field_path path = { "" };
	int r = process_fields.finish(process, &path, NULL);
	assert(r >= 0); // defaults fit together
}

static struct process *add_process(struct spec *spec, const char *name, char why[FIELD_WHY_SIZE])
{
	struct process *process = field_append(spec_field("processes"), spec, name, why);
	if (process)
		finish_process(process);
	return process;
}

void spec_settle(struct spec *spec, bool routes_given)
{
	char why[FIELD_WHY_SIZE];
	if (!spec->process_count)
		add_process(spec, "web", why);
	field_sort(spec_field("processes"), spec);
	const struct process *web = spec_process(spec, "web");
	if (routes_given || !web || !web->port)
		return;
	struct spec_route *route = field_append(spec_field("routes"), spec, NULL, why);
	*route = (struct spec_route){ .host = xstrdup(spec->name), .path = xstrdup("/") };
}

int spec_settle_name(struct spec *spec, const struct manifest_source *source, struct err *err)
{
	const char *name = source->name ? source->name : spec->name ? spec->name : source->fallback_name;
	if (!name) {
		err_set(err, -EINVAL, "%s: name: is missing", source->file);
		err_hint(err, "add a line 'name: …'");
		return -EINVAL;
	}
	char why[FIELD_WHY_SIZE];
	AUTO_FREE char *copy = xstrdup(name); // it may be the spec's own
	if (field_set_text(spec_field("name"), spec, copy, why) < 0)
		return err_set(err, -EINVAL, "%s: name: '%.80s' %s", source->file, copy, why);
	return 0;
}

struct line {
	char *name, *command;
};

static void line_clear(struct line *line)
{
	free(line->name);
	free(line->command);
}

// Returns 0, 1 for a line without a process, or -EINVAL.
static int split_line(const char *text, size_t n, struct line *ret)
{
	while (n && strchr(" \t\r", text[n - 1]))
		n--;
	size_t at = 0;
	while (at < n && (text[at] == ' ' || text[at] == '\t'))
		at++;
	if (at == n || text[at] == '#')
		return 1;
	const char *colon = memchr(text + at, ':', n - at);
	if (!colon || memchr(text, '\0', n))
		return -EINVAL;
	const char *command = colon + 1, *end = text + n;
	while (command < end && (*command == ' ' || *command == '\t'))
		command++;
	if (command == end)
		return -EINVAL;
	*ret = (struct line){ xstrndup(text + at, (size_t)(colon - text) - at),
			      xstrndup(command, (size_t)(end - command)) };
	return 0;
}

static int take_line(const struct manifest_source *source, unsigned number, const struct line *line, struct spec *spec,
		     struct err *err)
{
	char why[FIELD_WHY_SIZE];
	if (str_eq(line->name, "release")) {
		err_set(err, -EINVAL, "%s:%u:1: a release phase is not run by this platform", source->file, number);
		return err_hint(err, "remove the line, and run it with 'dialtone run' after the push");
	}
	if (spec_process(spec, line->name))
		return err_set(err, -EINVAL, "%s:%u:1: process '%.64s' is given twice", source->file, number,
			       line->name);
	struct process *process = add_process(spec, line->name, why);
	if (!process)
		return err_set(err, -EINVAL, "%s:%u:1: '%.64s': %s", source->file, number, line->name, why);
	const char *ignored = NULL;
	const struct field *command = field_find(&process_fields, "command", false, &ignored);
	if (field_set_text(command, process, line->command, why) < 0)
		return err_set(err, -EINVAL, "%s:%u:1: '%s': %s", source->file, number, line->name, why);
	return 0;
}

static int read_lines(const struct manifest_source *source, struct spec *spec, struct err *err)
{
	const char *at = source->text, *end = at + source->len;
	for (unsigned number = 1; at < end; number++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t n = stop ? (size_t)(stop - at) : (size_t)(end - at);
		CLEANUP(line_clear) struct line line = { 0 };
		int r = split_line(at, n, &line);
		if (r < 0)
			return err_set(err, -EINVAL, "%s:%u:1: must be 'NAME: command'", source->file, number);
		r = r == 1 ? 0 : take_line(source, number, &line, spec, err);
		if (r < 0)
			return r;
		at += n + 1;
	}
	if (!spec->process_count)
		return err_set(err, -EINVAL, "%s: names no process", source->file);
	return 0;
}

static int complete(const struct manifest_source *source, struct spec *spec, struct err *err)
{
	int r = spec_settle_name(spec, source, err);
	if (r >= 0)
		spec_settle(spec, false);
	return r;
}

int procfile_parse(const struct manifest_source *source, struct spec *ret, struct err *err)
{
	struct err unread;
	if (!err)
		err = &unread;
	if (source->len > MANIFEST_SIZE_MAX)
		return err_set(err, -E2BIG, "%s: larger than %d KiB", source->file, MANIFEST_SIZE_MAX >> 10);
	struct spec spec;
	fields_init(&spec_fields, &spec);
	int r = read_lines(source, &spec, err);
	if (r >= 0)
		r = complete(source, &spec, err);
	if (r < 0) {
		spec_clear(&spec);
		return r;
	}
	*ret = spec;
	return 0;
}

int manifest_default(const char *name, const char *runtime, const char *command, struct spec *ret, struct err *err)
{
	const struct manifest_source source = { .file = "(no manifest)", .name = name };
	const char *wrong = runtime ? check_versioned(runtime) : NULL;
	if (wrong)
		return err_set(err, -EINVAL, "runtime: '%.64s' %s", runtime, wrong);
	struct spec spec;
	fields_init(&spec_fields, &spec);
	int r = complete(&source, &spec, err);
	if (r < 0) {
		spec_clear(&spec);
		return r;
	}
	spec.runtime = runtime ? xstrdup(runtime) : NULL;
	spec.processes[0].command = command ? xstrdup(command) : NULL;
	*ret = spec;
	return 0;
}
