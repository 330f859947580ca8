// Logs as the keeper writes them, read back: lines, times, merging, tails, gaps.
#include "telemetry/logs.h"
#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "keeper/spool.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

// One stream being written.
struct writer {
	char dir[96];
	struct spool spool;
	int fifo;
};

struct logs {
	char root[64];
	struct writer out, err;
};

static void writer_open(struct writer *w, const char *root, const char *instance, const char *stream)
{
	snprintf(w->dir, sizeof(w->dir), "%s/%s", root, instance);
	assert_int_equal(dir_make(w->dir, 0700, NULL), 0);
	AUTO_FREE char *path = xasprintf("%s.%s.fifo", w->dir, stream);
	mkfifo(path, 0600);
	w->fifo = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(w->fifo >= 0);
	fcntl(w->fifo, F_SETPIPE_SZ, 1 << 20);
	assert_int_equal(spool_open(&w->spool, w->dir, stream, NULL), 0);
}

static void writer_close(struct writer *w)
{
	spool_close(&w->spool);
	close(w->fifo);
}

static void drain(struct writer *w)
{
	while (spool_drain(&w->spool, w->dir, w->fifo, 1 << 20))
		;
}

static void put(struct writer *w, const char *text)
{
	assert_int_equal(write_all(w->fifo, text, strlen(text)), 0);
	drain(w);
}

static int setup(void **state)
{
	struct logs *l = xcalloc(1, sizeof(*l));
	snprintf(l->root, sizeof(l->root), "/tmp/logs-XXXXXX");
	assert_non_null(mkdtemp(l->root));
	writer_open(&l->out, l->root, "one", "out");
	writer_open(&l->err, l->root, "one", "err");
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct logs *l = *state;
	writer_close(&l->out);
	writer_close(&l->err);
	tree_remove(l->root, NULL);
	free(l);
	return 0;
}

static struct log_reader *reader_of(const char *dir, uint64_t since_ms, uint64_t tail, bool follow)
{
	struct log_reader *r =
		log_reader_new(&(struct log_reader_spec){ .since_ms = since_ms, .tail = tail, .follow = follow });
	log_reader_add(r, dir, NULL);
	return r;
}

// All items as "o:text" or "e:text" lines, gaps as "o!bytes/lines", continued parts with '+'.
static char *all(struct log_reader *reader)
{
	struct buf text = BUF_INIT(64 << 20);
	struct log_item item;
	int r;
	while ((r = log_reader_next(reader, &item, NULL)) == 1) {
		char stream = item.stream == LOG_OUT ? 'o' : 'e';
		if (item.kind == LOG_GAP)
			buf_addf(&text, "%c!%llu/%llu\n", stream, (unsigned long long)item.lost_bytes,
				 (unsigned long long)item.lost_lines);
		else
			buf_addf(&text, "%c%c%.*s\n", stream, item.continued ? '+' : ':', (int)item.len, item.text);
	}
	assert_int_equal(r, 0);
	return buf_take(&text);
}

static void assert_logs(const char *dir, uint64_t since_ms, uint64_t tail, const char *want)
{
	struct log_reader *r = reader_of(dir, since_ms, tail, false);
	AUTO_FREE char *text = all(r);
	assert_string_equal(text, want);
	log_reader_free(r);
}

static void gives_lines_of_both_streams_in_order(void **state)
{
	struct logs *l = *state;
	put(&l->out, "a\nb\n");
	put(&l->err, "oops\n");
	put(&l->out, "c\n\nunfinished");
	assert_logs(l->out.dir, 0, LOG_TAIL_ALL, "o:a\no:b\ne:oops\no:c\no:\no:unfinished\n");
	assert_logs("/tmp/no/such/dir", 0, LOG_TAIL_ALL, "");
}

static void gives_the_last_lines(void **state)
{
	struct logs *l = *state;
	put(&l->out, "a\nb\n");
	put(&l->err, "oops\n");
	put(&l->out, "c\nd");
	assert_logs(l->out.dir, 0, 0, "");
	assert_logs(l->out.dir, 0, 1, "o:d\n");
	assert_logs(l->out.dir, 0, 3, "e:oops\no:c\no:d\n");
	assert_logs(l->out.dir, 0, 4, "o:b\ne:oops\no:c\no:d\n");
	assert_logs(l->out.dir, 0, 100, "o:a\no:b\ne:oops\no:c\no:d\n");
	AUTO_BUF struct buf tail = BUF_INIT(1000);
	assert_int_equal(logs_tail(l->out.dir, 2, &tail, NULL), 0);
	assert_string_equal(buf_str(&tail), "c\nd\n");
}

static void gives_nothing_that_is_written_meanwhile(void **state)
{
	struct logs *l = *state;
	put(&l->out, "a\nb\nc");
	for (unsigned tail = 1; tail < 5; tail++) {
		struct log_reader *r = reader_of(l->out.dir, 0, tail < 4 ? tail : LOG_TAIL_ALL, false);
		struct log_item item;
		assert_int_equal(log_reader_next(r, &item, NULL), 1);
		AUTO_FREE char *late = xasprintf("\nlate %u", tail);
		put(&l->out, late);
		put(&l->err, late);
		AUTO_FREE char *rest = all(r);
		assert_null(strstr(rest, late + 1));
		log_reader_free(r);
	}
	struct log_reader *none = reader_of("/tmp/no/such/dir", 0, 5, false);
	AUTO_FREE char *text = all(none);
	assert_string_equal(text, "");
	log_reader_free(none);
}

// A busy application: whatever is written while it is read, as many lines come as were asked for.
static void a_tail_of_a_busy_log_is_as_long_as_asked_for(void **state)
{
	struct logs *l = *state;
	for (unsigned n = 0; n < 3000; n++) {
		AUTO_FREE char *line = xasprintf("line %u %0*d\n", n, (int)(n % 700), 0);
		put(n % 3 ? &l->out : &l->err, line);
	}
	struct log_reader *r = reader_of(l->out.dir, 0, 200, false);
	struct log_item item;
	unsigned lines = 0;
	for (int got; (got = log_reader_next(r, &item, NULL)) != 0; lines++) {
		assert_int_equal(got, 1);
		put(&l->out, "one more\n");
		put(&l->err, "two more\n");
		assert_int_equal(memcmp(item.text, "line 2", 6), 0);
	}
	assert_int_equal(lines, 200);
	log_reader_free(r);
}

struct unfinished {
	unsigned n;
	enum log_stream stream;
	struct log_position at;
};

static void note_unfinished(UNUSED void *source, enum log_stream stream, const struct log_position *at, void *arg)
{
	struct unfinished *u = arg;
	*u = (struct unfinished){ u->n + 1, stream, *at };
}

static struct unfinished unfinished_of(const struct log_reader *r)
{
	struct unfinished u = { 0 };
	log_reader_unfinished(r, note_unfinished, &u);
	return u;
}

static struct log_reader *moved_reader(const char *dir, const struct unfinished *u)
{
	struct log_reader *r = reader_of(dir, realtime_ms() + 3600000, LOG_TAIL_ALL, true);
	log_reader_move(r, NULL, u->stream, &u->at);
	return r;
}

static bool is_settled(struct log_reader *r, const char *want)
{
	AUTO_FREE char *text = all(r);
	return str_eq(text, want);
}

// A reader stops in the middle of a line; another one goes on there, and gives that line whole and once.
static void goes_on_in_the_middle_of_a_line(void **state)
{
	struct logs *l = *state;
	put(&l->out, "first\nbeg");
	put(&l->err, "oops\n");
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, true);
	while (!is_settled(r, "o:first\ne:oops\n"))
		usleep(5000);
	struct unfinished u = unfinished_of(r);
	assert_int_equal(u.n, 1);
	assert_int_equal(u.stream, LOG_OUT);
	assert_int_equal(u.at.offset, 6);
	log_reader_free(r);

	put(&l->out, "un");
	r = moved_reader(l->out.dir, &u);
	assert_true(is_settled(r, ""));
	u = unfinished_of(r); // and once more
	assert_int_equal(u.n, 1);
	assert_int_equal(u.at.offset, 6);
	log_reader_free(r);

	put(&l->out, " and ended\nlast\n");
	r = moved_reader(l->out.dir, &u);
	struct log_item item;
	while (log_reader_next(r, &item, NULL) == 0)
		usleep(5000);
	assert_true(item.moved && item.len == strlen("begun and ended"));
	assert_memory_equal(item.text, "begun and ended", item.len);
	while (!is_settled(r, "o:last\n"))
		usleep(5000);
	assert_int_equal(unfinished_of(r).n, 0);
	log_reader_free(r);
}

// Between two parts of a long line.
static void goes_on_between_two_parts(void **state)
{
	struct logs *l = *state;
	AUTO_FREE char *text = xasprintf("%0*d%0*d\n", (int)LOG_LINE_MAX, 1, 1000, 2);
	put(&l->out, text);
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, true);
	struct log_item item;
	while (log_reader_next(r, &item, NULL) == 0)
		usleep(5000);
	assert_true(item.continued);
	struct unfinished u = unfinished_of(r);
	log_reader_free(r);
	assert_int_equal(u.n, 1);
	assert_int_equal(u.at.offset, LOG_LINE_MAX);
	r = moved_reader(l->out.dir, &u);
	while (log_reader_next(r, &item, NULL) == 0)
		usleep(5000);
	assert_int_equal(item.len, 1000);
	assert_int_equal(unfinished_of(r).n, 0);
	log_reader_free(r);
}

static void pause_until(uint64_t ms)
{
	while (realtime_ms() < ms)
		usleep(500);
}

static void every_line_has_its_time(void **state)
{
	struct logs *l = *state;
	uint64_t start = realtime_ms();
	put(&l->out, "early\nbegun ");
	uint64_t between = realtime_ms() + 5;
	pause_until(between + 5);
	put(&l->out, "later\nlate\n");
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, false);
	struct log_item item;
	assert_int_equal(log_reader_next(r, &item, NULL), 1);
	assert_true(item.time_ns / 1000000 >= start && item.time_ns / 1000000 <= between);
	assert_int_equal(log_reader_next(r, &item, NULL), 1);
	assert_memory_equal(item.text, "begun later", item.len);
	assert_true(item.time_ns / 1000000 <= between); // of the first byte
	assert_int_equal(log_reader_next(r, &item, NULL), 1);
	assert_true(item.time_ns / 1000000 > between && item.time_ns / 1000000 <= realtime_ms());
	log_reader_free(r);
	assert_logs(l->out.dir, between, LOG_TAIL_ALL, "o:late\n");
	assert_logs(l->out.dir, start, LOG_TAIL_ALL, "o:early\no:begun later\no:late\n");
	assert_logs(l->out.dir, realtime_ms() + 1000, LOG_TAIL_ALL, "");
	assert_logs(l->out.dir, start, 2, "o:begun later\no:late\n");
}

static void merges_instances_by_time(void **state)
{
	struct logs *l = *state;
	struct writer two;
	writer_open(&two, l->root, "two", "out");
	AUTO_BUF struct buf want = BUF_INIT(1 << 20);
	for (int i = 0; i < 500; i++) {
		AUTO_FREE char *line = xasprintf("line %d\n", i);
		put(i % 3 == 0 ? &two : i % 3 == 1 ? &l->out : &l->err, line);
		buf_addf(&want, "%c:%s", i % 3 == 2 ? 'e' : 'o', line);
	}
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, false);
	log_reader_add(r, two.dir, NULL);
	AUTO_FREE char *text = all(r);
	assert_string_equal(text, buf_str(&want));
	log_reader_free(r);
	r = reader_of(l->out.dir, 0, 10, false);
	log_reader_add(r, two.dir, NULL);
	AUTO_FREE char *tail = all(r);
	assert_string_equal(tail, strstr(buf_str(&want), "e:line 491\n") - strlen("o:line 490\n"));
	log_reader_free(r);
	writer_close(&two);
}

static void splits_long_lines(void **state)
{
	struct logs *l = *state;
	AUTO_FREE char *line = xmalloc(200001);
	memset(line, 'x', 200000);
	line[200000] = '\0';
	put(&l->out, line);
	put(&l->out, "\n");
	line[LOG_LINE_MAX] = '\0';
	put(&l->out, line);
	put(&l->out, "\nshort\n");
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, false);
	static const struct {
		size_t len;
		bool continued;
	} want[] = {
		{ LOG_LINE_MAX, true },  { LOG_LINE_MAX, true },
		{ LOG_LINE_MAX, true },  { 200000 - 3 * LOG_LINE_MAX, false },
		{ LOG_LINE_MAX, false }, { 5, false },
	};
	struct log_item item;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_int_equal(log_reader_next(r, &item, NULL), 1);
		assert_int_equal(item.len, want[i].len);
		assert_int_equal(item.continued, want[i].continued);
	}
	assert_int_equal(log_reader_next(r, &item, NULL), 0);
	log_reader_free(r);
	AUTO_BUF struct buf tail = BUF_INIT(1 << 20);
	assert_int_equal(logs_tail(l->out.dir, 2, &tail, NULL), 0);
	assert_true(buf_len(&tail) < 5000);
	assert_non_null(strstr(buf_str(&tail), "…\nshort\n"));
}

static char *numbered(unsigned from, unsigned to)
{
	struct buf text = BUF_INIT(64 << 20);
	for (unsigned i = from; i < to; i++)
		buf_addf(&text, "line %09u and some more text to make it long\n", i);
	return buf_take(&text);
}

#define NUMBERED_LEN 50
#define BIG_LINES 800000u // 40 MB: beyond what is kept

static void write_big(struct writer *w)
{
	for (unsigned i = 0; i < BIG_LINES; i += 10000) {
		AUTO_FREE char *text = numbered(i, i + 10000);
		put(w, text);
	}
}

static unsigned number_of(const struct log_item *item)
{
	return item->len > 14 ? (unsigned)strtoul(item->text + 5, NULL, 10) : 0;
}

static void removes_the_oldest_and_counts_it(void **state)
{
	struct logs *l = *state;
	write_big(&l->out);
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, false);
	struct log_item item;
	assert_int_equal(log_reader_next(r, &item, NULL), 1);
	assert_int_equal(item.kind, LOG_GAP);
	uint64_t lost_bytes = item.lost_bytes, lost_lines = item.lost_lines;
	assert_true(lost_bytes >= (uint64_t)BIG_LINES * NUMBERED_LEN - (32u << 20));
	assert_int_equal(lost_lines, lost_bytes / NUMBERED_LEN); // whole lines; the next is the rest of one
	uint64_t kept_bytes = 0;
	unsigned next = (unsigned)lost_lines;
	while (log_reader_next(r, &item, NULL) == 1) {
		assert_int_equal(item.kind, LOG_LINE);
		if (kept_bytes)
			assert_int_equal(number_of(&item), next);
		next++;
		kept_bytes += item.len + 1;
	}
	assert_int_equal(next, BIG_LINES);
	assert_int_equal(lost_bytes + kept_bytes, (uint64_t)BIG_LINES * NUMBERED_LEN);
	assert_true(kept_bytes <= 32u << 20 && kept_bytes > 30u << 20);
	log_reader_free(r);
	assert_logs(l->out.dir, 0, 2,
		    "o:line 000799998 and some more text to make it long\n"
		    "o:line 000799999 and some more text to make it long\n");
}

static void small_writes_are_bounded_too(void **state)
{
	struct logs *l = *state;
	for (unsigned i = 0; i < 40000; i++)
		put(&l->out, ".\n");
	struct stat st;
	AUTO_FREE char *path = xasprintf("%s/out.00000000.idx", l->out.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_true((size_t)st.st_size <=
		    sizeof(struct spool_head) + SPOOL_SEGMENT_RECORDS * sizeof(struct spool_record));
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, false);
	AUTO_FREE char *text = all(r);
	assert_int_equal(strlen(text), 40000 * 4);
	log_reader_free(r);
	assert_logs(l->out.dir, 0, 30000, text + 10000 * 4);
}

static void a_successor_goes_on(void **state)
{
	struct logs *l = *state;
	put(&l->out, "first\nhalf");
	// Written by a splice whose record its keeper did not live to write.
	assert_int_equal(pwrite(l->out.spool.segment_fd, " and half\n", 10, l->out.spool.size), 10);
	spool_close(&l->out.spool);
	assert_logs(l->out.dir, 0, LOG_TAIL_ALL, "o:first\no:half\n"); // not described: not read
	assert_int_equal(spool_open(&l->out.spool, l->out.dir, "out", NULL), 0);
	put(&l->out, "second\n");
	assert_logs(l->out.dir, 0, LOG_TAIL_ALL, "o:first\no:half and half\no:second\n");
}

static void a_torn_segment_is_left_alone(void **state)
{
	struct logs *l = *state;
	put(&l->out, "one\ntwo\nthree\n");
	assert_int_equal(ftruncate(l->out.spool.segment_fd, 6), 0); // the power went before the data reached the disk
	spool_close(&l->out.spool);
	assert_int_equal(spool_open(&l->out.spool, l->out.dir, "out", NULL), 0);
	put(&l->out, "four\n");
	AUTO_BUF struct buf tail = BUF_INIT(1000);
	assert_int_equal(logs_tail(l->out.dir, 1, &tail, NULL), 0);
	assert_string_equal(buf_str(&tail), "four\n");
	assert_logs(l->out.dir, 0, LOG_TAIL_ALL, "o:one\no:tw\no!8/0\no:four\n");
}

static void follows(void **state)
{
	struct logs *l = *state;
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, true);
	put(&l->out, "a\nhal");
	usleep(25000); // past the horizon
	AUTO_FREE char *first = all(r);
	assert_string_equal(first, "o:a\n");
	put(&l->out, "f\n");
	put(&l->err, "e\n");
	usleep(25000);
	AUTO_FREE char *second = all(r);
	assert_string_equal(second, "o:half\ne:e\n");
	// Across many segments, while they are being written.
	AUTO_BUF struct buf seen = BUF_INIT(64 << 20);
	for (unsigned i = 0; i < 100000; i += 10000) {
		AUTO_FREE char *text = numbered(i, i + 10000);
		put(&l->out, text);
		usleep(25000);
		AUTO_FREE char *part = all(r);
		buf_add_str(&seen, part);
	}
	assert_int_equal(buf_len(&seen), 100000 * (NUMBERED_LEN + 2));
	put(&l->out, "the end");
	log_reader_finish(r, NULL);
	usleep(25000);
	AUTO_FREE char *last = all(r);
	assert_string_equal(last, "o:the end\n");
	log_reader_free(r);
}

static void a_slow_follower_is_told_what_it_missed(void **state)
{
	struct logs *l = *state;
	struct log_reader *r = reader_of(l->out.dir, 0, LOG_TAIL_ALL, true);
	AUTO_FREE char *text = numbered(0, 10);
	put(&l->out, text);
	usleep(25000);
	AUTO_FREE char *first = all(r);
	assert_int_equal(strlen(first), 10 * (NUMBERED_LEN + 2));
	write_big(&l->out);
	usleep(25000);
	struct log_item item;
	uint64_t bytes = 10 * NUMBERED_LEN, gaps = 0;
	while (log_reader_next(r, &item, NULL) == 1) {
		gaps += item.kind == LOG_GAP;
		bytes += item.kind == LOG_GAP ? item.lost_bytes : item.len + 1;
	}
	assert_int_equal(gaps, 1);
	// Its first piece ends in the middle of a line, which is given without a newline of its own.
	assert_in_range(bytes, (uint64_t)(BIG_LINES + 10) * NUMBERED_LEN,
			(uint64_t)(BIG_LINES + 10) * NUMBERED_LEN + 1);
	log_reader_free(r);
}

struct watched {
	struct loop *loop;
	struct log_reader *reader;
	unsigned lines;
};

static void take_watched(void *arg)
{
	struct watched *w = arg;
	struct log_item item;
	while (log_reader_next(w->reader, &item, NULL) == 1)
		w->lines++;
	if (w->lines == 2)
		loop_stop(w->loop);
}

static void give_up(UNUSED struct timer *timer)
{
	fail_msg("the reader was not woken within 5 s");
}

static void wakes_a_follower(void **state)
{
	struct logs *l = *state;
	struct watched w = { .loop = loop_new(), .reader = reader_of(l->out.dir, 0, LOG_TAIL_ALL, true) };
	struct timer deadline;
	timer_init(&deadline, w.loop, give_up);
	timer_set(&deadline, 5000);
	log_reader_watch(w.reader, w.loop, take_watched, &w);
	put(&l->out, "one\n");
	put(&l->err, "two\n");
	loop_run(w.loop);
	log_reader_free(w.reader);
	timer_clear(&deadline);
	loop_free(w.loop);
}

static void a_full_disk_blocks_nobody_and_is_told(void **state)
{
	struct logs *l = *state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		skip();
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	AUTO_FREE char *small = xasprintf("%s/small", l->root);
	assert_int_equal(mkdir(small, 0700), 0);
	assert_int_equal(mount("tmpfs", small, "tmpfs", 0, "size=256k"), 0);
	struct writer w;
	writer_open(&w, small, "full", "out");
	AUTO_FREE char *text = numbered(0, 10000); // 500 kB
	put(&w, text);
	assert_true(w.spool.head.discarded_bytes > 200000);
	uint64_t kept = 500000 - w.spool.head.discarded_bytes;
	struct log_reader *r = reader_of(w.dir, 0, LOG_TAIL_ALL, false);
	AUTO_FREE char *before = all(r);
	AUTO_FREE char *told = xasprintf("o!%llu/%llu\n", (unsigned long long)w.spool.head.discarded_bytes,
					 (unsigned long long)w.spool.head.discarded_lines);
	log_reader_free(r);
	assert_non_null(strstr(before, told));
	assert_in_range(strlen(before), kept, kept * 2);

	// Also when the keeper dies meanwhile. With room again, it is in its place in the log.
	spool_close(&w.spool);
	assert_int_equal(spool_open(&w.spool, w.dir, "out", NULL), 0);
	assert_int_equal(mount("tmpfs", small, "tmpfs", MS_REMOUNT, "size=8m"), 0);
	put(&w, "after\n");
	assert_int_equal(w.spool.last_error, 0);
	AUTO_FREE char *want = xasprintf("%so:after\n", told);
	r = reader_of(w.dir, 0, LOG_TAIL_ALL, false);
	AUTO_FREE char *after = all(r);
	log_reader_free(r);
	assert_true(str_ends(after, want));
	writer_close(&w);
	umount(small);
	rmdir(small);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(gives_lines_of_both_streams_in_order),
		LOG_TEST(gives_the_last_lines),
		LOG_TEST(goes_on_in_the_middle_of_a_line),
		LOG_TEST(goes_on_between_two_parts),
		LOG_TEST(gives_nothing_that_is_written_meanwhile),
		LOG_TEST(a_tail_of_a_busy_log_is_as_long_as_asked_for),
		LOG_TEST(every_line_has_its_time),
		LOG_TEST(merges_instances_by_time),
		LOG_TEST(splits_long_lines),
		LOG_TEST(removes_the_oldest_and_counts_it),
		LOG_TEST(small_writes_are_bounded_too),
		LOG_TEST(a_successor_goes_on),
		LOG_TEST(a_torn_segment_is_left_alone),
		LOG_TEST(follows),
		LOG_TEST(a_slow_follower_is_told_what_it_missed),
		LOG_TEST(wakes_a_follower),
		LOG_TEST(a_full_disk_blocks_nobody_and_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
