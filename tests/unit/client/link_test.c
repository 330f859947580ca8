#include "base/clock.h"
#include "base/str.h"
#include "client/client.h"
#include "peer.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

struct following {
	struct loop *loop;
	struct client_watch *watch;
	unsigned events, last, whole; // whole: streams that began with event 1
	unsigned connects, losses;
	unsigned stop_at;
	bool stop_inside;
	int lost_code;
};

static void on_event(const struct sse_event *event, void *arg)
{
	struct following *f = arg;
	unsigned n = (unsigned)atoi(event->data);
	if (n == 1)
		f->whole++;
	else
		assert_int_equal(n, f->last + 1);
	f->last = n;
	f->events++;
	if (f->stop_at && f->events >= f->stop_at) {
		loop_stop(f->loop);
		if (f->stop_inside)
			client_watch_stop(TAKE_PTR(f->watch));
	}
}

static void on_state(bool connected, const struct err *err, void *arg)
{
	struct following *f = arg;
	if (connected) {
		f->connects++;
	} else {
		f->losses++;
		f->lost_code = err->code;
		if (!f->stop_at)
			loop_stop(f->loop);
	}
}

struct fixture {
	struct loop *loop;
	struct client_link *link;
};

static struct fixture open_link(void)
{
	struct fixture fixture = { .loop = loop_new() };
	fixture.link = client_link_new(fixture.loop, peer_address, "secret", NULL);
	assert_non_null(fixture.link);
	return fixture;
}

static void close_link(struct fixture *fixture)
{
	client_link_free(fixture->link);
	loop_free(fixture->loop);
}

static struct client_watch *follow(struct fixture *fixture, struct following *f, const char *path)
{
	struct client_watch_spec spec = { .path = path, .on_event = on_event, .on_state = on_state, .arg = f };
	f->loop = fixture->loop;
	return f->watch = client_watch_start(fixture->link, &spec);
}

static void watch_goes_on_where_it_was(void **state UNUSED)
{
	struct fixture fixture = open_link();
	struct following f = { .stop_at = 8 };
	follow(&fixture, &f, "/events");
	loop_run(fixture.loop);
	assert_int_equal(f.whole, 1);
	assert_true(f.last >= 8);
	assert_int_equal(f.connects, 3);
	client_watch_stop(f.watch);
	close_link(&fixture);
}

static void watch_stops_inside_its_callback(void **state UNUSED)
{
	struct fixture fixture = open_link();
	struct following f = { .stop_at = 2, .stop_inside = true };
	follow(&fixture, &f, "/events");
	loop_run(fixture.loop);
	assert_int_equal(f.events, 2);
	close_link(&fixture);
}

static void gone_begins_anew(void **state UNUSED)
{
	struct fixture fixture = open_link();
	struct following f = { .stop_at = 6 };
	follow(&fixture, &f, "/gone");
	loop_run(fixture.loop);
	assert_int_equal(f.whole, 2);
	client_watch_stop(f.watch);
	close_link(&fixture);
}

static void watch_outlives_the_server(void **state UNUSED)
{
	struct fixture fixture = open_link();
	struct following f = { 0 };
	peer_kill();
	follow(&fixture, &f, "/events");
	loop_run(fixture.loop); // until it hears that nobody is there
	assert_int_equal(f.losses, 1);
	assert_int_equal(f.lost_code, -ECONNREFUSED);
	peer_start();
	f.stop_at = 3;
	loop_run(fixture.loop);
	assert_int_equal(f.events, 3);
	client_watch_stop(f.watch);
	close_link(&fixture);
}

struct calling {
	struct loop *loop;
	unsigned answers, left;
	int code;
};

static void on_done(const struct client_answer *answer, const struct err *err, void *arg)
{
	struct calling *calling = arg;
	calling->code = err ? err->code : 0;
	if (!err)
		assert_int_equal(answer->status, 200);
	calling->answers++;
	if (--calling->left == 0)
		loop_stop(calling->loop);
}

static void calls(void **state UNUSED)
{
	struct fixture fixture = open_link();
	struct calling calling = { .loop = fixture.loop, .left = 40 };
	json_t *body = json_pack("{s:i}", "seq", 1);
	for (int i = 0; i < 40; i++)
		client_link_call(fixture.link, "POST", "/echo", body, on_done, &calling);
	json_decref(body);
	loop_run(fixture.loop);
	assert_int_equal(calling.answers, 40);
	assert_int_equal(calling.code, 0);
	calling.left = 1;
	client_link_call(fixture.link, "GET", "/other", NULL, on_done, &calling);
	loop_run(fixture.loop);
	assert_int_equal(calling.code, -EEXIST);
	client_link_call(fixture.link, "GET", "/echo", NULL, on_done, &calling); // never answered
	close_link(&fixture);
	assert_int_equal(calling.answers, 41);
}

static int prepare(void **state UNUSED)
{
	peer_prepare();
	peer_start();
	return 0;
}

static int cleanup(void **state UNUSED)
{
	peer_kill();
	peer_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watch_goes_on_where_it_was), cmocka_unit_test(watch_stops_inside_its_callback),
		cmocka_unit_test(gone_begins_anew),	      cmocka_unit_test(watch_outlives_the_server),
		cmocka_unit_test(calls),
	};
	return cmocka_run_group_tests(tests, prepare, cleanup);
}
