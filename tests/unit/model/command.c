#include "check.h"

#include "model/command.h"

// Words with '|' between them.
static char *joined(const struct words *words)
{
	char *all = xstrdup("");
	for (uint32_t i = 0; i < words->count; i++) {
		AUTO_FREE char *before = all;
		all = xasprintf("%s%s%s", before, i ? "|" : "", words->items[i]);
	}
	return all;
}

static void splits(void **state UNUSED)
{
	static const struct {
		const char *line, *words;
	} good[] = {
		{ "node server.js", "node|server.js" },
		{ "  a\t b  \n", "a|b" },
		{ "a 'b c' \"d e\" f\\ g", "a|b c|d e|f g" },
		{ "a '' \"\"", "a||" },
		{ "a b'c'\"d\"", "a|bcd" },
		{ "echo '$X' $X \"$X\" \\$X \"\\$X\" $$X", "echo|$$X|$X|$X|$$X|$$X|$$X" },
		{ "a '; | && > *' \"; | && > *\" \\; \\*", "a|; | && > *|; | && > *|;|*" },
		{ "gunicorn -b 0.0.0.0:${PORT:-80 80} x", "gunicorn|-b|0.0.0.0:${PORT:-80 80}|x" },
		{ "a \\\n b", "a|b" },
		{ "java -jar x.jar --a=b?c#d ~ [x] {y} !", "java|-jar|x.jar|--a=b?c#d|~|[x]|{y}|!" },
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CLEANUP(words_clear) struct words words = { 0 };
		struct err err = { 0 };
		if (command_split(good[i].line, false, &words, &err) < 0)
			fail_msg("%s: %s", good[i].line, err.text);
		AUTO_FREE char *all = joined(&words);
		assert_string_equal(all, good[i].words);
	}
}

static void refuses_shell(void **state UNUSED)
{
	static const struct {
		const char *line, *part;
	} bad[] = {
		{ "a | b", "'|'" },         { "a && b", "'&&'" },
		{ "a || b", "'||'" },       { "a &", "'&'" },
		{ "a; b", "';'" },          { "a > b", "'>'" },
		{ "a 2>&1", "'>'" },        { "a < b", "'<'" },
		{ "a $(b)", "'$('" },       { "a \"$(b)\"", "'$('" },
		{ "a `b`", "'`'" },         { "a \"`b`\"", "'`'" },
		{ "a *.js", "'*'" },        { "(a)", "'('" },
		{ "a\nb", "line break" },   { "FOO=bar node x", "FOO=" },
		{ "cd app", "'cd'" },       { "exec node x", "'exec'" },
		{ "export A", "'export'" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP(words_clear) struct words words = { 0 };
		struct err err = { 0 };
		assert_int_equal(command_split(bad[i].line, false, &words, &err), -EOPNOTSUPP);
		assert_has(err.text, bad[i].part);
		assert_has(err.hint, "stack that has a shell");
		assert_int_equal(command_split(bad[i].line, true, &words, &err), 0);
		assert_int_equal(words.count, 3);
		assert_string_equal(words.items[0], "/bin/sh");
		assert_string_equal(words.items[1], "-c");
	}
	static const char *const wrong[] = { "", "   ", "a 'b", "a \"b", "a \\", "a ${b" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct words words = { 0 };
		struct err err = { 0 };
		assert_int_equal(command_split(wrong[i], true, &words, &err), -EINVAL);
		assert_true(*err.text);
	}
}

static const char *lookup(void *arg UNUSED, const char *name)
{
	return str_eq(name, "PORT") ? "8080" : str_eq(name, "EMPTY") ? "" : str_eq(name, "D") ? "$PORT x" : NULL;
}

static int expand(const char *line, bool shell, struct words *ret, struct err *err)
{
	CLEANUP(words_clear) struct words words = { 0 };
	assert_int_equal(command_split(line, shell, &words, NULL), 0);
	return command_expand((const char *const *)words.items, words.count, lookup, NULL, ret, err);
}

static void expands(void **state UNUSED)
{
	static const struct {
		const char *line, *words;
	} good[] = {
		{ "a $PORT ${PORT}0 :$PORT/x", "a|8080|80800|:8080/x" },
		{ "a \"$D\" $EMPTY", "a|$PORT x|" }, // a value is not expanded or split again
		{ "a ${NONE:-b c} ${EMPTY:-d} ${PORT:-e} ${NONE:-}", "a|b c|d|8080|" },
		{ "a '$PORT' \\$PORT $$PORT $5 $ $-x", "a|$PORT|$PORT|$PORT|$5|$|$-x" },
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CLEANUP(words_clear) struct words words = { 0 };
		struct err err = { 0 };
		if (expand(good[i].line, false, &words, &err) < 0)
			fail_msg("%s: %s", good[i].line, err.text);
		AUTO_FREE char *all = joined(&words);
		assert_string_equal(all, good[i].words);
	}
	CLEANUP(words_clear) struct words shell = { 0 };
	assert_int_equal(expand("a $PORT | b $$ $(c)", true, &shell, NULL), 0);
	assert_string_equal(shell.items[2], "a $PORT | b $$ $(c)");

	struct words none = { 0 };
	struct err err = { 0 };
	assert_int_equal(expand("a $NONE", false, &none, &err), -ENOENT);
	assert_has(err.text, "$NONE");
	assert_has(err.hint, "${NONE:-}");
	assert_int_equal(expand("a ${NONE:=x}", false, &none, &err), -EINVAL);
	assert_int_equal(expand("a ${1}", false, &none, &err), -EINVAL);
}

static const char *large(void *arg, const char *name UNUSED)
{
	return arg;
}

static void bounded(void **state UNUSED)
{
	AUTO_FREE char *text = xcalloc(1, (1 << 20) - 10);
	memset(text, 'x', (1 << 20) - 20);
	const char *const words[] = { "$A", "$A" };
	struct words none = { 0 };
	struct err err = { 0 };
	assert_int_equal(command_expand(words, 2, large, text, &none, &err), -E2BIG);
	AUTO_FREE char *many = xcalloc(1, 4000);
	for (int i = 0; i < 1100; i++)
		memcpy(many + 2 * i, "a ", 2);
	assert_int_equal(command_split(many, true, &none, &err), -EINVAL);
	assert_has(err.text, "1000 words");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(splits), cmocka_unit_test(refuses_shell),
					    cmocka_unit_test(expands), cmocka_unit_test(bounded) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
