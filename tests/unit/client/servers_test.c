// Following the server that decides, among fake ones on the same loop.
#include "client/servers.h"

#include "base/str.h"
#include "http/server.h"
#include "io/file.h"
#include "io/socket.h"
#include "model/exchange.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { FAKES = 3, STREAMS = 8 };

struct fake {
	struct http_server *http;
	char address[96];
	struct http_exchange *watchers[STREAMS]; // of the servers
	struct http_exchange *readers[STREAMS];  // of the orders
	unsigned refused;                        // who wanted orders here
};

static char folder[] = "/tmp/dialtone-servers-XXXXXX";
static struct loop *loop;
static struct fake fakes[FAKES];
static int leader = -1; // which of them decides
static uint64_t revision;
static unsigned present; // how many of them are in the list

static void gone(struct http_exchange *x, bool complete UNUSED)
{
	for (size_t i = 0; i < FAKES; i++)
		for (size_t k = 0; k < STREAMS; k++) {
			if (fakes[i].watchers[k] == x)
				fakes[i].watchers[k] = NULL;
			if (fakes[i].readers[k] == x)
				fakes[i].readers[k] = NULL;
		}
}

static void keep(struct http_exchange *list[STREAMS], struct http_exchange *x)
{
	size_t k = 0;
	while (list[k])
		assert_true(++k < STREAMS);
	list[k] = x;
	http_exchange_on_gone(x, gone);
	http_respond_start(x, 200, "text/event-stream");
}

static void say(struct http_exchange *x, const char *event, const char *data)
{
	AUTO_FREE char *text = xasprintf("event: %s\ndata: %s\n\n", event, data);
	http_respond_write(x, text, strlen(text));
}

static void tell(struct http_exchange *x)
{
	AUTO_BUF struct buf text = BUF_INIT(1 << 16);
	buf_addf(&text, "{\"revision\":%llu,\"servers\":[", (unsigned long long)revision);
	for (int i = 0; i < (int)present; i++)
		buf_addf(&text, "%s{\"name\":\"%c\",\"api\":\"%s\",\"term\":%llu}", i ? "," : "", 'a' + i,
			 fakes[i].address, i == leader ? (unsigned long long)revision : 0);
	buf_add_str(&text, "]}");
	say(x, "servers", buf_str(&text));
}

static void answer(struct http_exchange *x, void *arg)
{
	struct fake *fake = arg;
	const char *path = http_exchange_request(x)->path;
	if (str_eq(path, "/v1/servers/watch")) {
		keep(fake->watchers, x);
		tell(x);
	} else if (fake == &fakes[leader]) {
		keep(fake->readers, x);
		say(x, "orders", fake->address);
	} else {
		AUTO_FREE char *text = xasprintf("{\"detail\":\"not here\",\"leader\":{\"name\":\"x\",\"api\":\"%s\"}}",
						 fakes[leader].address);
		fake->refused++;
		http_respond(x, 421, "application/problem+json", text, strlen(text));
	}
}

static void fake_start(int i)
{
	struct address address;
	int fd;
	snprintf(fakes[i].address, sizeof(fakes[i].address), "unix:%s/%c.sock", folder, 'a' + i);
	assert_int_equal(address_parse(fakes[i].address, &address, NULL), 0);
	assert_int_equal(socket_listen(&address, 16, &fd, NULL), 0);
	struct http_server_config config = { .on_request = answer, .arg = &fakes[i] };
	fakes[i].http = http_server_new(loop, &config);
	assert_int_equal(http_server_listen(fakes[i].http, fd, NULL), 0);
}

// Which decides from now on; told by all but the one at `silent`, which hangs.
static void decide(int next, int silent)
{
	leader = next;
	revision++;
	for (int i = 0; i < FAKES; i++)
		for (size_t k = 0; k < STREAMS && i != silent; k++)
			if (fakes[i].watchers[k])
				tell(fakes[i].watchers[k]);
}

// ---- the one who follows

struct follower {
	struct client_servers *servers;
	struct client_watch *watch;
	char at[96];
	unsigned came, gone, moves;
};

static void *came(struct client_link *link UNUSED, const char *address UNUSED, void *arg)
{
	((struct follower *)arg)->came++;
	return arg;
}

static void went(void *item, void *arg)
{
	assert_ptr_equal(item, arg);
	((struct follower *)arg)->gone++;
}

static void ordered(const struct sse_event *event, void *arg)
{
	struct follower *f = arg;
	snprintf(f->at, sizeof(f->at), "%s", event->data);
	f->moves++;
	loop_stop(loop);
}

static void begin(struct follower *f, const char *addresses, bool told)
{
	*f = (struct follower){ 0 };
	AUTO_FREE char *file = xasprintf("%s/servers.json", folder);
	struct client_servers_spec spec = { .loop = loop,
					    .addresses = addresses,
					    .token = "secret",
					    .file = told ? file : NULL,
					    .came = came,
					    .gone = went,
					    .arg = f };
	struct err err = { 0 };
	assert_int_equal(client_servers_new(&spec, &f->servers, &err), 0);
	f->watch = client_servers_watch(
		f->servers, &(struct client_watch_spec){ .path = "/orders", .on_event = ordered, .arg = f });
}

static void end(struct follower *f)
{
	client_watch_stop(f->watch);
	client_servers_free(f->servers);
	assert_int_equal(f->came, f->gone);
}

static void expire(struct timer *timer UNUSED)
{
	fail_msg("nothing has come for 10 s");
}

static void until_at(struct follower *f, int fake)
{
	struct timer timer;
	timer_init(&timer, loop, expire);
	timer_set(&timer, 10000);
	while (!str_eq(f->at, fakes[fake].address))
		loop_run(loop);
	timer_clear(&timer);
}

static void a_refusal_leads_on(void **state UNUSED)
{
	struct follower f;
	AUTO_FREE char *addresses = xasprintf("%s,%s,%s", fakes[0].address, fakes[1].address, fakes[2].address);
	leader = 2;
	begin(&f, addresses, false); // nothing is told
	until_at(&f, 2);
	assert_int_equal(fakes[0].refused, 1); // by which it came to the right one at once
	assert_int_equal(fakes[1].refused, 0);
	end(&f);
}

static void one_address_is_enough(void **state UNUSED)
{
	struct follower f;
	leader = 1;
	begin(&f, fakes[0].address, true);
	until_at(&f, 1);
	assert_int_equal(f.came, 3);
	AUTO_FREE char *all = client_servers_addresses(f.servers);
	assert_true(str_starts(all, fakes[1].address));
	assert_non_null(strstr(all, fakes[2].address));
	end(&f);
}

static void moves_though_the_former_one_hangs(void **state UNUSED)
{
	struct follower f;
	leader = 1;
	begin(&f, fakes[0].address, true);
	until_at(&f, 1);
	decide(2, 1); // its streams stay open, and it says nothing
	until_at(&f, 2);
	decide(0, 2);
	until_at(&f, 0);
	end(&f);
}

static void the_kept_list_serves_a_start(void **state UNUSED)
{
	struct follower f;
	AUTO_FREE char *nobody = xasprintf("unix:%s/nobody.sock", folder);
	begin(&f, fakes[0].address, true);
	until_at(&f, leader);
	end(&f);
	begin(&f, nobody, true); // the only address that is given leads nowhere
	until_at(&f, leader);
	assert_int_equal(f.came, 4);
	end(&f);
}

static void who_is_gone_is_dropped(void **state UNUSED)
{
	struct follower f;
	leader = 0;
	begin(&f, fakes[0].address, true);
	until_at(&f, 0);
	while (f.came < 3)
		loop_run(loop);
	present = 2;
	decide(1, -1);
	until_at(&f, 1);
	assert_int_equal(f.gone, 1);
	present = 3;
	decide(2, -1);
	until_at(&f, 2);
	end(&f);
}

static int prepare(void **state UNUSED)
{
	assert_non_null(mkdtemp(folder));
	loop = loop_new();
	present = FAKES;
	revision = 1;
	for (int i = 0; i < FAKES; i++)
		fake_start(i);
	return 0;
}

static int cleanup(void **state UNUSED)
{
	for (int i = 0; i < FAKES; i++)
		http_server_free(fakes[i].http);
	loop_free(loop);
	return tree_remove(folder, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_leads_on),
		cmocka_unit_test(one_address_is_enough),
		cmocka_unit_test(moves_though_the_former_one_hangs),
		cmocka_unit_test(the_kept_list_serves_a_start),
		cmocka_unit_test(who_is_gone_is_dropped),
	};
	return cmocka_run_group_tests(tests, prepare, cleanup);
}
