#include "image/detect.h"

#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <strings.h>
#include <sys/stat.h>

#define TEXT_MAX (4u << 20)

void detected_clear(struct detected *d)
{
	free(d->runtime);
	free(d->command);
	free(d->build);
	free(d->because);
	*d = (struct detected){ 0 };
}

static bool has(const char *dir, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	return file_exists(path) == 1;
}

// The file's text; NULL when there is none or it is too large.
static char *read_text(const char *dir, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	AUTO_BUF struct buf text = BUF_INIT(TEXT_MAX);
	return file_read(path, &text, NULL) == 0 ? buf_take(&text) : NULL;
}

static void fill(struct detected *d, const char *kind, const char *runtime, const char *because)
{
	d->kind = kind;
	d->runtime = xstrdup(runtime);
	d->stack = "minimal";
	d->because = xstrdup(because);
}

// --- node
// ----------------------------------------------------------------------------------------------------------------

static const char *script_of(json_t *package, const char *name)
{
	return json_string_value(json_object_get(json_object_get(package, "scripts"), name));
}

// "20", "20.x", "^22.1.0" name a major version; ranges like ">=18" leave it open.
static char *node_runtime(json_t *package)
{
	const char *engine = json_string_value(json_object_get(json_object_get(package, "engines"), "node"));
	if (!engine)
		return xstrdup("node");
	engine += strspn(engine, "^~v= ");
	size_t digits = strspn(engine, "0123456789");
	const char *rest = engine + digits;
	bool one = digits && digits < 4 && !strpbrk(rest, " |<>-");
	return one ? xasprintf("node@%.*s", (int)digits, engine) : xstrdup("node");
}

static char *node_build(const char *dir, json_t *package)
{
	bool locked = has(dir, "package-lock.json") || has(dir, "npm-shrinkwrap.json");
	bool needs = json_object_size(json_object_get(package, "dependencies")) > 0;
	const char *install = locked ? "npm ci" : "npm install --no-save";
	if (script_of(package, "build"))
		return xasprintf("%s && npm run build && npm prune --omit=dev", install);
	return needs ? xasprintf("%s --omit=dev", install) : NULL;
}

static int detect_node(const char *dir, const char *text, struct detected *d, struct err *err)
{
	json_error_t where;
	json_t *package = json_loads(text, 0, &where);
	if (!json_is_object(package)) {
		json_decref(package);
		return err_set(err, -EINVAL, "package.json:%d:%d: %s", where.line, where.column, where.text);
	}
	const char *start = script_of(package, "start");
	if (!start && !has(dir, "server.js") && !has(dir, "Procfile")) {
		json_decref(package);
		err_set(err, -EINVAL, "package.json has no start script");
		return err_hint(
			err, "add \"scripts\": {\"start\": \"node app.js\"} to package.json, or write dialtone.yaml");
	}
	AUTO_FREE char *runtime = node_runtime(package);
	fill(d, "node", runtime,
	     start                  ? "package.json has a start script"
	     : has(dir, "Procfile") ? "package.json and a Procfile are there"
				    : "package.json and server.js are there");
	d->command = start ? xstrdup(start) : has(dir, "server.js") ? xstrdup("node server.js") : NULL;
	d->build = node_build(dir, package);
	json_decref(package);
	return 0;
}

// --- python
// --------------------------------------------------------------------------------------------------------------

// A requirement's name at the front of a line, whatever its version.
static bool requires(const char *text, const char *package)
{
	size_t n = strlen(package);
	for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		line += strspn(line, " \t");
		if (strncasecmp(line, package, n) == 0 && (!line[n] || strchr(" \t\r\n=<>~![;#", line[n])))
			return true;
	}
	return false;
}

// "app.py" with "app = …" is app:app.
static char *find_module(const char *dir)
{
	static const char *const files[] = { "wsgi", "app", "main", "server", "asgi" };
	static const char *const objects[] = { "app", "application" };
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *name = xasprintf("%s.py", files[i]);
		AUTO_FREE char *text = read_text(dir, name);
		for (size_t o = 0; text && o < ARRAY_LEN(objects); o++) {
			AUTO_FREE char *first = xasprintf("%s =", objects[o]);
			AUTO_FREE char *later = xasprintf("\n%s", first);
			AUTO_FREE char *imported = xasprintf("import %s\n", objects[o]);
			if (str_starts(text, first) || strstr(text, later) || strstr(text, imported))
				return xasprintf("%s:%s", files[i], objects[o]);
		}
	}
	return NULL;
}

static char *python_command(const char *dir, const char *requirements)
{
	AUTO_FREE char *module = find_module(dir);
	if (module && requires(requirements, "gunicorn"))
		return xasprintf("gunicorn --bind 0.0.0.0:$PORT %s", module);
	if (module && requires(requirements, "uvicorn"))
		return xasprintf("uvicorn --host 0.0.0.0 --port $PORT %s", module);
	static const char *const files[] = { "app.py", "main.py", "server.py" };
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (has(dir, files[i]))
			return xasprintf("python %s", files[i]);
	return NULL;
}

static int detect_python(const char *dir, const char *requirements, struct detected *d, struct err *err)
{
	AUTO_FREE char *command = python_command(dir, requirements);
	if (!command && !has(dir, "Procfile")) {
		err_set(err, -EINVAL, "requirements.txt is there, but nothing says how the app is started");
		return err_hint(err, "add a Procfile with a line like 'web: gunicorn --bind 0.0.0.0:$PORT app:app'");
	}
	fill(d, "python", "python@3.11", "requirements.txt is there");
	d->command = TAKE_PTR(command);
	// An empty list still makes the folder, so that what builds and what runs agree.
	d->build = xstrdup("pip install -t python_modules -r requirements.txt");
	return 0;
}

// --- programs and files
// --------------------------------------------------------------------------------------------------

static bool is_program(int dirfd, const char *name)
{
	struct stat st;
	char magic[4];
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & 0111 && read(fd, magic, 4) == 4 &&
	       memcmp(magic, "\177ELF", 4) == 0;
}

struct programs {
	char *jar, *binary;
	size_t jars, binaries;
};

static int look_for_programs(const char *dir, struct programs *p, struct err *err)
{
	DIR *d = opendir(dir);
	if (!d)
		return err_set_errno(err, -errno, "cannot read the folder '%s'", dir);
	for (struct dirent *e; (e = readdir(d));) {
		bool jar = e->d_name[0] != '.' && str_ends(e->d_name, ".jar");
		bool binary =
			!jar && e->d_name[0] != '.' && !strstr(e->d_name, ".so") && is_program(dirfd(d), e->d_name);
		if (!jar && !binary)
			continue;
		char **to = jar ? &p->jar : &p->binary;
		free(*to);
		*to = xstrdup(e->d_name);
		p->jars += jar;
		p->binaries += binary;
	}
	closedir(d);
	return 0;
}

static int several(const char *what, struct err *err)
{
	err_set(err, -EINVAL, "there are several %s; which one is the app?", what);
	return err_hint(err, "write a Procfile with a line 'web: COMMAND', or dialtone.yaml");
}

static int detect_programs(const char *dir, struct programs *p, struct detected *d, struct err *err)
{
	int r = look_for_programs(dir, p, err);
	if (r < 0)
		return r;
	if (p->jars > 1)
		return several("jars", err);
	if (p->jars) {
		fill(d, "java", "java", "there is one jar");
		d->command = xasprintf("java -jar %s", p->jar);
	} else if (has(dir, "index.html")) {
		fill(d, "static", "static", "index.html is there");
	} else if (p->binaries > 1) {
		return several("programs", err);
	} else if (p->binaries) {
		fill(d, "binary", "none", "there is one program");
		d->command = xasprintf("./%s", p->binary);
	} else {
		err_set(err, -ENOENT, "'%s' holds nothing that says what kind of app it is", dir);
		return err_hint(err,
				"add dialtone.yaml, or one of: package.json with a start script, requirements.txt, "
				"a jar, index.html, a program (executable, ELF)");
	}
	return 0;
}

int detect_app(const char *dir, struct detected *ret, struct err *err)
{
	CLEANUP(detected_clear) struct detected d = { 0 };
	AUTO_FREE char *package = read_text(dir, "package.json");
	AUTO_FREE char *requirements = package ? NULL : read_text(dir, "requirements.txt");
	struct programs p = { 0 };
	int r;
	if (package)
		r = detect_node(dir, package, &d, err);
	else if (requirements)
		r = detect_python(dir, requirements, &d, err);
	else
		r = detect_programs(dir, &p, &d, err);
	free(p.jar);
	free(p.binary);
	if (r < 0)
		return r;
	*ret = d;
	d = (struct detected){ 0 };
	return 0;
}

// --- commands
// ------------------------------------------------------------------------------------------------------------

static const struct interpreter {
	const char *word, *runtime, *stack;
} interpreters[] = {
	{ "python", "python", "minimal" }, { "python3", "python", "minimal" }, { "python3.11", "python", "minimal" },
	{ "flask", "flask", "minimal" },   { "gunicorn", "flask", "minimal" }, { "node", "node", "minimal" },
	{ "nodejs", "node", "minimal" },   { "npm", "node", "minimal" },       { "npx", "node", "minimal" },
	{ "java", "java", "minimal" },     { "sh", "none", "shell" },          { "dash", "none", "shell" },
};

static const struct interpreter *find_interpreter(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *word = slash ? slash + 1 : path;
	for (size_t i = 0; i < ARRAY_LEN(interpreters); i++)
		if (str_eq(interpreters[i].word, word))
			return &interpreters[i];
	return NULL;
}

static int say_needs(struct detected *d, const char *word, const struct interpreter *interpreter, bool by_env)
{
	bool none = str_eq(interpreter->runtime, "none");
	d->kind = !none ? interpreter->runtime : str_eq(interpreter->stack, "shell") ? "script" : "binary";
	d->runtime = xstrdup(interpreter->runtime);
	d->stack = by_env ? "shell" : interpreter->stack; // env is in the shell's
	d->because = xasprintf("its command runs %s", word);
	return 0;
}

// line: what stands behind "#!".
static int detect_script(const char *name, char *line, struct detected *d, struct err *err)
{
	static const char blanks[] = " \t\r";
	char *rest = NULL;
	const char *word = strtok_r(line, blanks, &rest);
	bool by_env = word && str_ends(word, "/env");
	const char *program = by_env ? strtok_r(NULL, blanks, &rest) : word;
	const struct interpreter *interpreter = program ? find_interpreter(program) : NULL;
	if (interpreter)
		return say_needs(d, name, interpreter, by_env);
	err_set(err, -EINVAL, "'%s' is a script for '%s', which no stack and no runtime has", name,
		program ? program : "");
	return err_hint(err, "let it begin with '#!/bin/sh', or with '#!/usr/bin/env' and python3 or node");
}

static int detect_file(const char *dir, const char *name, struct detected *d, struct err *err)
{
	char head[256] = "";
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	struct stat st;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || read(fd, head, sizeof(head) - 1) < 0)
		return -ENOENT;
	if (str_starts(head, "\177ELF"))
		return say_needs(d, name, &(struct interpreter){ name, "none", "minimal" }, false);
	if (!str_starts(head, "#!"))
		return -ENOENT;
	head[strcspn(head, "\n")] = '\0';
	return detect_script(name, head + 2, d, err);
}

int detect_command(const char *dir, const char *command, struct detected *ret, struct err *err)
{
	command += strspn(command, " \t");
	AUTO_FREE char *word = xstrndup(command, strcspn(command, " \t"));
	const char *file = str_starts(word, "/app/") ? word + strlen("/app/") : word;
	struct detected d = { 0 };
	bool inside = strchr(file, '/') && *file != '/' && !strstr(file, "..");
	int r = inside || file != word ? detect_file(dir, file, &d, err) : -ENOENT;
	const struct interpreter *interpreter = r == -ENOENT ? find_interpreter(word) : NULL;
	if (interpreter)
		r = say_needs(&d, word, interpreter, false);
	if (r == -ENOENT)
		return err_set(err, r, "'%s' says nothing of the runtime that it needs", word);
	if (r == 0)
		*ret = d;
	return r;
}
