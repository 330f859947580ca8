#include "cli/source.h"

#include "cli/output.h"
#include "cli/wait.h"

#include "base/str.h"
#include "image/detect.h"
#include "io/file.h"
#include "model/manifest.h"

#include <ctype.h>
#include <errno.h>

void source_clear(struct source *source)
{
	free(source->dir);
	free(source->manifest);
	free(source->text);
	spec_clear(&source->spec);
	artifact_clear(&source->artifact);
	*source = (struct source){ 0 };
}

// A name made of the directory's: lower case, other characters as '-'.
static char *name_of_dir(const char *dir)
{
	const char *slash = strrchr(dir, '/');
	AUTO_FREE char *name = xstrndup(slash ? slash + 1 : dir, 63);
	size_t n = 0;
	for (const char *c = name; *c; c++) {
		char lower = (char)tolower((unsigned char)*c);
		bool fits = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
		if (fits || (n && name[n - 1] != '-'))
			name[n++] = fits ? lower : '-';
	}
	while (n && name[n - 1] == '-')
		n--;
	name[n] = '\0';
	return n ? TAKE_PTR(name) : xstrdup("app");
}

static int parse_file(struct cli *cli, struct source *source, const char *file, bool procfile, struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(MANIFEST_SIZE_MAX);
	int r = file_read(file, &text, err);
	if (r < 0)
		return r;
	AUTO_FREE char *fallback = name_of_dir(source->dir);
	const char *shown = str_starts(file, source->dir) && file[strlen(source->dir)] == '/'
				    ? file + strlen(source->dir) + 1
				    : file;
	struct manifest_source in = {
		.file = shown,
		.text = buf_str(&text),
		.len = buf_len(&text),
		.name = cli_get(cli, "name"),
		.fallback_name = fallback,
	};
	source->manifest = xstrdup(shown);
	source->text = xstrndup(buf_str(&text), buf_len(&text));
	source->procfile = procfile;
	return procfile ? procfile_parse(&in, &source->spec, err) : manifest_parse(&in, &source->spec, err);
}

void source_place(const struct source *source, const char *field, struct err *err)
{
	unsigned line, column;
	if (!source->manifest)
		return;
	struct manifest_source in = { .file = source->manifest, .text = source->text, .len = strlen(source->text) };
	if (manifest_place(&in, source->procfile, field, &line, &column) == 0)
		err_wrap(err, "%s:%u:%u", source->manifest, line, column);
}

// Which file says what the app is; NULL: none.
static char *find_manifest(struct cli *cli, const char *dir, bool *ret_procfile)
{
	static const char *const names[] = { "dialtone.yaml", "dialtone.yml", "Procfile" };
	*ret_procfile = false;
	if (cli_get(cli, "manifest"))
		return xstrdup(cli_get(cli, "manifest"));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *file = xasprintf("%s/%s", dir, names[i]);
		*ret_procfile = i == 2;
		if (file_exists(file) == 1)
			return file;
		free(file);
	}
	*ret_procfile = false;
	return NULL;
}

static bool needs_detection(const struct spec *spec)
{
	const struct process *web = spec_process(spec, "web");
	return !spec->runtime || (web && !web->command);
}

static void fill(char **to, const char *value)
{
	if (!*to && value)
		*to = xstrdup(value);
}

// The directory does not say what the manifest leaves open.
static int say_what_is_missing(const char *manifest, int r, struct err *err)
{
	if (r != -ENOENT)
		return r;
	AUTO_FREE char *cause = xstrdup(err->text);
	err_set(err, r, "%s does not say what to run, and %s", manifest, cause);
	return err_hint(err, "name runtime and command in it, for example these two lines:\n"
			     "  runtime: node\n"
			     "  processes: {web: node server.js}");
}

// "node@20" and "node" are one family.
static bool same_family(const char *a, const char *b)
{
	size_t n = strcspn(a, "@");
	return n == strcspn(b, "@") && strncmp(a, b, n) == 0;
}

// What all commands of the spec need together. -ENOENT: one of them does not say, or there is none.
static int detect_commands(const struct source *source, struct detected *ret, struct err *err)
{
	int r = -ENOENT;
	for (uint32_t i = 0; i < source->spec.process_count; i++) {
		CLEANUP(detected_clear) struct detected d = { 0 };
		const struct process *process = &source->spec.processes[i];
		r = process->command ? detect_command(source->dir, process->command, &d, err) : -ENOENT;
		if (r < 0)
			return process->command ? err_wrap(err, "process '%s'", process->name) : r;
		bool settled = ret->runtime && !str_eq(ret->runtime, "none");
		if (settled && !str_eq(d.runtime, "none") && !str_eq(d.runtime, ret->runtime)) {
			err_set(err, -EINVAL, "process '%s' needs runtime %s, another one %s", process->name, d.runtime,
				ret->runtime);
			return err_hint(err, "an app has one runtime: make two apps of it");
		}
		if (str_eq(d.stack, "shell") || !ret->stack)
			ret->stack = d.stack;
		if (settled)
			continue;
		const char *stack = ret->stack;
		detected_clear(ret);
		*ret = d;
		ret->stack = stack;
		d = (struct detected){ 0 };
	}
	return r;
}

static bool is_named_before(const json_t *items, size_t at)
{
	const char *name = get_text(json_array_get(items, at), "name");
	for (size_t i = 0; i < at; i++)
		if (str_eq(get_text(json_array_get(items, i), "name"), name))
			return true;
	return false;
}

static char *runtime_names(struct cli *cli)
{
	AUTO_BUF struct buf names = BUF_INIT(1024);
	AUTO_ANSWER struct client_answer answer = { 0 };
	size_t i;
	json_t *item;
	if (client_call(cli->client, "GET", "/v1/runtimes", NULL, &answer, NULL) == 0)
		json_array_foreach(json_object_get(answer.json, "items"), i, item)
			if (!is_named_before(json_object_get(answer.json, "items"), i)) // in another version
				buf_addf(&names, "%s%s", i ? ", " : "", get_text(item, "name"));
	return xstrdup(buf_len(&names) ? buf_str(&names) : "see 'dialtone runtimes'");
}

// Commands are there, but neither they nor the folder say what they run on.
static int say_no_runtime(struct cli *cli, const struct source *source, struct err *err)
{
	AUTO_FREE char *cause = xstrdup(err->text);
	AUTO_FREE char *names = runtime_names(cli);
	err_set(err, -EINVAL, "%s gives no runtime, and %s", source->manifest, cause);
	return err_hint(err, "%s 'runtime: NAME' %s dialtone.yaml, NAME one of: %s; 'none' is for own programs",
			source->procfile ? "write the processes and" : "add", source->procfile ? "into a" : "to",
			names);
}

static bool has_commands(const struct source *source)
{
	for (uint32_t i = 0; i < source->spec.process_count; i++)
		if (!source->spec.processes[i].command)
			return false;
	return source->manifest && source->spec.process_count;
}

// The kind of the folder, and over it what the commands say themselves.
static int detect_kind(struct cli *cli, struct source *source, struct detected *kind, struct err *err)
{
	struct err folder_err = { 0 };
	CLEANUP(detected_clear) struct detected asked = { 0 };
	int r = detect_app(source->dir, kind, &folder_err);
	if (!has_commands(source) || source->spec.runtime) {
		*err = folder_err;
		return r;
	}
	int by_command = detect_commands(source, &asked, err);
	if (by_command < 0 && r < 0)
		return by_command == -ENOENT ? say_no_runtime(cli, source, err) : by_command;
	if (by_command < 0)
		return by_command == -ENOENT ? 0 : by_command;
	bool bare = str_eq(asked.runtime, "none");
	bool brings_flask = r == 0 && same_family(kind->runtime, "python") && str_eq(asked.runtime, "flask");
	if (r == 0 && (bare || brings_flask || same_family(kind->runtime, asked.runtime))) {
		kind->stack = str_eq(asked.stack, "shell") ? asked.stack : kind->stack;
		return 0;
	}
	detected_clear(kind);
	*kind = asked;
	asked = (struct detected){ 0 };
	return 0;
}

// What the manifest leaves open is taken from the kind of the app. A manifest that names its own runtime and command
// needs no obvious kind.
static int detect(struct cli *cli, struct source *source, struct err *err)
{
	CLEANUP(detected_clear) struct detected kind = { 0 };
	int r = detect_kind(cli, source, &kind, err);
	if (r < 0) {
		bool enough = source->manifest && source->spec.runtime;
		return enough ? 0 : source->manifest ? say_what_is_missing(source->manifest, r, err) : r;
	}
	if (!source->manifest) {
		AUTO_FREE char *fallback = name_of_dir(source->dir);
		const char *name = cli_get(cli, "name") ? cli_get(cli, "name") : fallback;
		r = manifest_default(name, kind.runtime, kind.command, &source->spec, err);
	}
	// Another runtime than the detected one: its command would not fit.
	bool same = r == 0 && (!source->spec.runtime || str_starts(kind.runtime, source->spec.runtime) ||
			       str_starts(source->spec.runtime, kind.runtime));
	if (!same)
		return r;
	struct process *web = spec_process(&source->spec, "web");
	fill(&source->spec.runtime, kind.runtime);
	fill(&source->spec.stack, kind.stack);
	fill(&source->spec.build.command, kind.build);
	if (web)
		fill(&web->command, kind.command);
	step(cli, "%s app: %s", kind.kind, kind.because);
	return r;
}

static int read_spec(struct cli *cli, struct source *source, struct err *err)
{
	bool procfile;
	AUTO_FREE char *file = find_manifest(cli, source->dir, &procfile);
	int r = file ? parse_file(cli, source, file, procfile, err) : 0;
	if (r == 0 && (!file || needs_detection(&source->spec)))
		r = detect(cli, source, err);
	return r;
}

static void show_reading(void *arg, size_t files, uint64_t bytes)
{
	char size[SHORT_TEXT_SIZE];
	size_text(bytes, size);
	progress_often(arg, "reading: %zu files, %s", files, size);
}

// Manifests are not part of what is deployed: another count or variable is no reason to build again, and a web server
// should not show them. A Procfile is, since other programs read it, too. -ENOENT: there is nothing at all.
static int pack(struct cli *cli, struct source *source, struct err *err)
{
	const char *given = cli_get(cli, "manifest");
	AUTO_FREE char *real = given ? realpath(given, NULL) : NULL;
	size_t n = strlen(source->dir);
	bool inside = real && str_starts(real, source->dir) && real[n] == '/';
	const char *const without[] = { "dialtone.yaml", "dialtone.yml", inside ? real + n + 1 : NULL, NULL };
	struct pack_options options = { .without = without, .progress = show_reading, .arg = cli };
	int r = artifact_pack(source->dir, &options, &source->artifact, err);
	progress_end();
	if (r < 0 || source->artifact.n || source->manifest)
		return r;
	err_set(err, -ENOENT, "'%s' has no files to deploy", source->dir);
	return err_hint(err, "everything in it is ignored, or it is empty");
}

int source_read(struct cli *cli, struct source *ret)
{
	struct err err = { 0 };
	const char *dir = cli->n_args ? cli->args[0] : ".";
	ret->dir = realpath(dir, NULL);
	if (!ret->dir) {
		err_set_errno(&err, -errno, "cannot read directory '%s'", dir);
		err_hint(&err, "name the directory of the application, or go there and leave it out");
		return cli_report(CLI_MANIFEST, &err, NULL, NULL, NULL);
	}
	int r = read_spec(cli, ret, &err);
	if (r == 0)
		r = pack(cli, ret, &err);
	if (r == 0)
		return CLI_OK;
	return cli_report(CLI_MANIFEST, &err, NULL, NULL, NULL);
}
