// The face on a loop: calls that answer later.
#include "client/link.h"

#include "base/str.h"

struct client_call_open {
	struct list open; // on the link
	struct client_link *link;
	struct http_call *call;
	struct client_collect collect;
	client_done *done;
	void *arg;
};

struct client_link *client_link_new(struct loop *loop, const char *address, const char *token, struct err *err)
{
	struct client_link *link = xcalloc(1, sizeof(*link));
	if (client_wire_init(&link->wire, address, token, err) < 0) {
		free(link);
		return NULL;
	}
	link->loop = loop;
	link->http = client_wire_connect(&link->wire, loop, 0);
	list_init(&link->calls);
	return link;
}

static void call_free(struct client_call_open *open)
{
	list_remove(&open->open);
	client_collect_clear(&open->collect);
	free(open);
}

void client_link_free(struct client_link *link)
{
	if (!link)
		return;
	struct client_call_open *open;
	LIST_EACH(open, &link->calls, open) {
		http_call_cancel(open->call);
		call_free(open);
	}
	http_client_free(link->http);
	client_wire_clear(&link->wire);
	free(link);
}

static void on_head(struct http_call *call, const struct http_response *response)
{
	struct client_call_open *open = http_call_arg(call);
	client_collect_head(&open->collect, response);
}

static void on_data(struct http_call *call, const char *bytes, size_t n)
{
	struct client_call_open *open = http_call_arg(call);
	client_collect_data(&open->collect, bytes, n);
}

static void on_end(struct http_call *call, const struct err *lost)
{
	struct client_call_open *open = http_call_arg(call);
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct err err = { 0 };
	int r = client_collect_finish(&open->collect, &open->link->wire, lost, &answer, &err);
	client_done *done = open->done;
	void *arg = open->arg;
	call_free(open);
	if (done)
		done(&answer, r < 0 ? &err : NULL, arg);
}

void client_link_call(struct client_link *link, const char *method, const char *path, const json_t *body,
		      client_done *done, void *arg)
{
	struct client_call_open *open = xcalloc(1, sizeof(*open));
	*open = (struct client_call_open){ .link = link, .collect = CLIENT_COLLECT_INIT, .done = done, .arg = arg };
	list_append(&link->calls, &open->open);
	AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct client_headers headers;
	client_headers_init(&headers, &link->wire, "application/json");
	client_headers_add(&headers, "Content-Type", text ? "application/json" : NULL);
	struct http_call_spec spec = {
		.method = method,
		.target = path,
		.host = link->wire.host,
		.headers = headers.items,
		.n_headers = headers.n,
		.body = text,
		.body_len = text ? strlen(text) : 0,
		.on_head = on_head,
		.on_data = on_data,
		.on_end = on_end,
		.arg = open,
	};
	open->call = http_client_call(link->http, &spec);
}
