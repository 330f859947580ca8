#include "base/str.h"
#include "http/sse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void note(const struct sse_event *event, void *arg)
{
	assert_int_equal(strlen(event->data), event->data_len);
	buf_addf(arg, "{%s|%s|%s}", event->event, event->id, event->data);
}

static void parsed(const char *text, const char *expected)
{
	for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
		AUTO_BUF struct buf out = BUF_INIT(1 << 16);
		struct sse_parser *p = sse_parser_new(1000, note, &out);
		for (size_t at = 0; at < strlen(text); at += piece) {
			size_t left = strlen(text) - at;
			assert_int_equal(sse_parse(p, text + at, left < piece ? left : piece), 0);
		}
		sse_parser_free(p);
		assert_string_equal(buf_str(&out), expected);
	}
}

static void test_parse(UNUSED void **state)
{
	parsed("data: a\n\n", "{message||a}");
	parsed("event: x\nid: 7\ndata: a\ndata:b\ndata\ndata:  c\n\ndata: d\n\n", "{x|7|a\nb\n\n c}{message|7|d}");
	parsed("data: a\r\ndata: b\r\n\r\ndata: c\r\rdata: d\n\r\n", "{message||a\nb}{message||c}{message||d}");
	parsed(": comment\n\nevent: x\n\nretry: 5\nother: y\n\n", "");
	parsed("\xef\xbb\xbf"
	       "data: a\n\n",
	       "{message||a}");
	parsed("data:\n\n", "{message||}");
	parsed("id: 1\n\ndata: a\n\nid\ndata: b\n\n", "{message|1|a}{message||b}");
	parsed("data: unfinished\n", "");
}

static void test_limit(UNUSED void **state)
{
	AUTO_BUF struct buf out = BUF_INIT(1 << 16);
	AUTO_FREE char *text = xmalloc(4000);
	memset(text, 'x', 4000);
	memcpy(text, "data: ", 6);
	struct sse_parser *p = sse_parser_new(1000, note, &out);
	assert_int_equal(sse_parse(p, text, 1006), 0); // 1000 bytes of data
	assert_int_equal(sse_parse(p, "\n\n", 2), 0);
	assert_int_equal(buf_len(&out), 1000 + 11);
	assert_int_equal(sse_parse(p, text, 1100), -EMSGSIZE);
	assert_int_equal(sse_parse(p, "\n\n", 2), -EMSGSIZE); // and it stays so
	sse_parser_free(p);

	p = sse_parser_new(1000, note, &out);
	int r = 0;
	for (int i = 0; i < 200 && r == 0; i++)
		r = sse_parse(p, "data: 0123456789\n", 17);
	assert_int_equal(r, -EMSGSIZE);
	sse_parser_free(p);
}

static void written(const char *event, const char *id, const char *data, const char *expected)
{
	AUTO_BUF struct buf out = BUF_INIT(1000);
	assert_int_equal(sse_write(&out, event, id, data, strlen(data)), 0);
	assert_string_equal(buf_str(&out), expected);
}

static void test_write(UNUSED void **state)
{
	written(NULL, NULL, "a", "data: a\n\n");
	written("x", "7", "a\nb\r\nc\rd\n", "id: 7\nevent: x\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
	written("x\ndata: forged", NULL, "", "event: x\ndata: \n\n");
	AUTO_BUF struct buf small = BUF_INIT(8);
	assert_int_equal(sse_write(&small, NULL, NULL, "a", 1), -ENOBUFS);
	assert_int_equal(buf_len(&small), 0);
}

struct closing {
	struct sse_parser *parser;
	unsigned events;
};

static void free_inside(UNUSED const struct sse_event *event, void *arg)
{
	struct closing *c = arg;
	c->events++;
	sse_parser_free(c->parser);
}

static void test_free_inside(UNUSED void **state)
{
	struct closing c = { 0 };
	c.parser = sse_parser_new(100, free_inside, &c);
	assert_int_equal(sse_parse(c.parser, "data: a\n\ndata: b\n\n", 18), 0);
	assert_int_equal(c.events, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_free_inside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
