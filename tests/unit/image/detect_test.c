#include "tree.h"

#include "image/detect.h"

#include <errno.h>

static void expect(const char *dir, const char *kind, const char *runtime, const char *command, const char *build)
{
	struct err err = { 0 };
	CLEANUP(detected_clear) struct detected d = { 0 };
	if (detect_app(dir, &d, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(d.kind, kind);
	assert_string_equal(d.runtime, runtime);
	if (!str_eq(d.command, command))
		fail_msg("command '%s'", d.command);
	if (!str_eq(d.build, build))
		fail_msg("build '%s'", d.build);
	assert_non_null(d.because);
}

static void refuse(const char *dir, int code, const char *says, const char *hint)
{
	struct err err = { 0 };
	CLEANUP(detected_clear) struct detected d = { 0 };
	assert_int_equal(detect_app(dir, &d, &err), code);
	assert_says(&err, says);
	if (!strstr(err.hint, hint))
		fail_msg("hint '%s'", err.hint);
}

static void node(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, "package.json", "{\"scripts\":{}}", 0644);
	refuse(dir, -EINVAL, "no start script", "\"start\"");
	tree_file(dir, "package.json", "{\"scripts\":", 0644);
	refuse(dir, -EINVAL, "package.json:1:", "");
	tree_file(dir, "package.json", "{\"scripts\":{\"start\":\"node app.js\"},\"engines\":{\"node\":\"20.x\"}}",
		  0644);
	expect(dir, "node", "node@20", "node app.js", NULL);
	tree_file(dir, "package.json",
		  "{\"scripts\":{\"start\":\"node "
		  "a\"},\"engines\":{\"node\":\">=18\"},\"dependencies\":{\"express\":\"4\"}}",
		  0644);
	expect(dir, "node", "node", "node a", "npm install --no-save --omit=dev");
	tree_file(dir, "package-lock.json", "{}", 0644);
	expect(dir, "node", "node", "node a", "npm ci --omit=dev");
	tree_file(dir, "package.json", "{\"scripts\":{\"start\":\"node a\",\"build\":\"tsc\"}}", 0644);
	expect(dir, "node", "node", "node a", "npm ci && npm run build && npm prune --omit=dev");
	tree_file(dir, "package.json", "{}", 0644);
	tree_file(dir, "server.js", "", 0644);
	expect(dir, "node", "node", "node server.js", NULL);
}

static void python(void **state)
{
	(void)state;
	static const char build[] = "pip install -t python_modules -r requirements.txt";
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, "requirements.txt", "Flask==3.0\n", 0644);
	refuse(dir, -EINVAL, "nothing says how the app is started", "Procfile");
	tree_file(dir, "app.py", "from flask import Flask\n\napp = Flask(__name__)\n", 0644);
	expect(dir, "python", "python@3.11", "python app.py", build);
	tree_file(dir, "requirements.txt", "flask\ngunicorn>=21\n", 0644);
	expect(dir, "python", "python@3.11", "gunicorn --bind 0.0.0.0:$PORT app:app", build);
	tree_file(dir, "requirements.txt", "fastapi\nuvicorn[standard]\n", 0644);
	expect(dir, "python", "python@3.11", "uvicorn --host 0.0.0.0 --port $PORT app:app", build);
	AUTO_TREE char *other = tree_new();
	tree_file(other, "requirements.txt", "", 0644);
	tree_file(other, "Procfile", "web: python x.py\n", 0644);
	expect(other, "python", "python@3.11", NULL, build);
}

static void programs(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, "notes.txt", "x", 0644);
	tree_file(dir, "script", "#!/bin/sh\n", 0755);
	refuse(dir, -ENOENT, "nothing that says what kind of app", "package.json");
	tree_file(dir, "libx.so.1", "\177ELF", 0755);
	tree_file(dir, "data", "\177ELF", 0644);
	tree_file(dir, "server", "\177ELF", 0755);
	expect(dir, "binary", "none", "./server", NULL);
	tree_file(dir, "tool", "\177ELF", 0755);
	refuse(dir, -EINVAL, "several programs", "Procfile");
	tree_file(dir, "index.html", "<p>", 0644);
	expect(dir, "static", "static", NULL, NULL);
	tree_file(dir, "app.jar", "PK", 0644);
	expect(dir, "java", "java", "java -jar app.jar", NULL);
	tree_file(dir, "other.jar", "PK", 0644);
	refuse(dir, -EINVAL, "several jars", "Procfile");
	refuse("/tmp/no/such/folder", -ENOENT, "cannot read", "");
}

static void expect_command(const char *dir, const char *command, const char *runtime, const char *stack)
{
	struct err err = { 0 };
	CLEANUP(detected_clear) struct detected d = { 0 };
	if (detect_command(dir, command, &d, &err) < 0)
		fail_msg("%s: %s", command, err.text);
	assert_string_equal(d.runtime, runtime);
	assert_string_equal(d.stack, stack);
}

static void commands(void **state)
{
	(void)state;
	struct err err = { 0 };
	struct detected none = { 0 };
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, "a", "\177ELF", 0755);
	tree_file(dir, "run.sh", "#!/bin/sh\nexec ./a\n", 0755);
	tree_file(dir, "serve", "#!/usr/bin/env -S\n", 0755);
	tree_file(dir, "main", "#! /usr/bin/env python3\n", 0755);
	tree_file(dir, "ruby", "#!/usr/bin/ruby\n", 0755);
	expect_command(dir, "./a --port $PORT", "none", "minimal");
	expect_command(dir, "/app/a", "none", "minimal");
	expect_command(dir, " ./run.sh", "none", "shell");
	expect_command(dir, "sh run.sh", "none", "shell");
	expect_command(dir, "./main", "python", "shell");
	expect_command(dir, "python3 main.py", "python", "minimal");
	expect_command(dir, "gunicorn app:app", "flask", "minimal");
	expect_command(dir, "npm start", "node", "minimal");
	expect_command(dir, "/usr/bin/java -jar a.jar", "java", "minimal");
	assert_int_equal(detect_command(dir, "rackup -p 1", &none, &err), -ENOENT);
	assert_int_equal(detect_command(dir, "./missing", &none, &err), -ENOENT);
	assert_int_equal(detect_command(dir, "../a", &none, &err), -ENOENT);
	assert_int_equal(detect_command(dir, "./ruby", &none, &err), -EINVAL);
	assert_says(&err, "'/usr/bin/ruby'");
	assert_int_equal(detect_command(dir, "./serve", &none, &err), -EINVAL);
	assert_null(none.runtime);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(commands), cmocka_unit_test(node), cmocka_unit_test(python),
					    cmocka_unit_test(programs) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
