// Two upgraded connections, client's and agent's, joined: what comes in at one goes out at the other, never more of it
// in memory than TUNNEL_BUFFER each way. An agent that has closed may have said why, so the client still gets that, and
// what it sends meanwhile is dropped; when the client's connection breaks, all is over.
#include "base/log.h"
#include "base/str.h"
#include "server/core.h"
#include "server/passthrough.h"

#include <errno.h>
#include <sys/socket.h>

enum { TUNNEL_BUFFER = 128 << 10, PROBLEM_MAX = 64 << 10 };

static const char protocol[] = "dialtone-stream";

struct side {
	struct tunnel *tunnel;
	struct poll poll;
	int fd;
	struct buf in; // read here, to be written at the other side
	bool ended;    // nothing more comes in here
	bool deaf;     // the other side takes nothing more
	bool shut;     // the other side was told so
};

struct tunnel {
	struct side sides[2];
	struct list link;
};

enum { CLIENT, AGENT };

static bool is_client(const struct side *side)
{
	return side == &side->tunnel->sides[CLIENT];
}

static struct side *other_side(struct side *side)
{
	return side == &side->tunnel->sides[0] ? &side->tunnel->sides[1] : &side->tunnel->sides[0];
}

static void tunnel_free(struct tunnel *tunnel)
{
	list_remove(&tunnel->link);
	for (size_t i = 0; i < 2; i++) {
		poll_stop(&tunnel->sides[i].poll);
		close(tunnel->sides[i].fd);
		buf_clear(&tunnel->sides[i].in);
	}
	free(tunnel);
}

void tunnels_close(struct server *server)
{
	struct tunnel *tunnel;
	LIST_EACH(tunnel, &server->tunnels, link)
		tunnel_free(tunnel);
}

// Reads while there is room; false when the client's connection broke.
static bool read_side(struct side *side)
{
	while (!side->ended && buf_len(&side->in) < TUNNEL_BUFFER / 2) {
		char *room;
		size_t size = TUNNEL_BUFFER / 2;
		if (buf_reserve(&side->in, size, &room) < 0)
			return true;
		ssize_t n = recv(side->fd, room, size, 0);
		if (n > 0)
			buf_commit(&side->in, (size_t)n);
		else if (n == 0)
			side->ended = true;
		else if (errno == EAGAIN || errno == EINTR)
			return true;
		else if (is_client(side))
			return false;
		else
			side->ended = true;
	}
	return true;
}

static bool write_side(struct side *side)
{
	struct side *to = other_side(side);
	while (buf_len(&side->in) && !side->deaf) {
		ssize_t n = send(to->fd, buf_data(&side->in), buf_len(&side->in), MSG_NOSIGNAL);
		if (n > 0)
			buf_consume(&side->in, (size_t)n);
		else if (errno == EAGAIN || errno == EINTR)
			return true;
		else if (is_client(to))
			return false;
		else
			side->deaf = true;
	}
	if (side->deaf)
		buf_reset(&side->in);
	if (side->ended && !side->shut) {
		side->shut = true;
		shutdown(to->fd, SHUT_WR);
	}
	return true;
}

static void set_polls(struct tunnel *tunnel)
{
	for (size_t i = 0; i < 2; i++) {
		struct side *side = &tunnel->sides[i];
		int events = 0;
		if (!side->ended && buf_len(&side->in) < TUNNEL_BUFFER / 2)
			events |= POLL_READ;
		if (buf_len(&other_side(side)->in))
			events |= POLL_WRITE;
		poll_set(&side->poll, events);
	}
}

static void ready(struct poll *poll, int events UNUSED)
{
	struct tunnel *tunnel = CONTAINER_OF(poll, struct side, poll)->tunnel;
	bool alive = true;
	for (size_t i = 0; i < 2 && alive; i++)
		alive = read_side(&tunnel->sides[i]) && write_side(&tunnel->sides[i]);
	if (!alive || (tunnel->sides[0].shut && tunnel->sides[1].shut))
		tunnel_free(tunnel);
	else
		set_polls(tunnel);
}

// Takes both descriptors and what came in early at each.
static void tunnel_open(struct server *server, const int fds[2], struct buf early[2])
{
	struct tunnel *tunnel = xcalloc(1, sizeof(*tunnel));
	list_append(&server->tunnels, &tunnel->link);
	int r = 0;
	for (size_t i = 0; i < 2; i++) {
		struct side *side = &tunnel->sides[i];
		*side = (struct side){ .tunnel = tunnel,
				       .fd = fds[i],
				       .in = BUF_INIT(TUNNEL_BUFFER + buf_len(&early[i])) };
		buf_add(&side->in, buf_data(&early[i]), buf_len(&early[i]));
	}
	for (size_t i = 0; i < 2 && r == 0; i++)
		r = poll_start(&tunnel->sides[i].poll, server->loop, fds[i], POLL_READ | POLL_WRITE, ready);
	if (r < 0) {
		log_error("tunnel not opened error=%d", r);
		tunnel_free(tunnel);
	}
}

// ---- opening: the agent first, so that its refusal can still be an ordinary answer

struct opening {
	struct request *rq;
	struct http_call *call;
	unsigned status;
	struct buf problem;
};

static void opening_free(struct opening *opening)
{
	opening->rq->on_gone = NULL;
	request_unref(opening->rq);
	buf_clear(&opening->problem);
	free(opening);
}

static void client_gone(struct request *rq)
{
	struct opening *opening = rq->arg;
	if (opening->call)
		http_call_cancel(opening->call);
	opening_free(opening);
}

static void join(struct opening *opening, struct http_call *call)
{
	struct request *rq = opening->rq;
	struct server *server = rq->server;
	struct buf early[2] = { BUF_INIT(1 << 20), BUF_INIT(1 << 20) };
	int fds[2] = { -1, http_call_take_socket(call, &early[1]) };
	if (fds[1] < 0) {
		reply_problemf(rq, 502, NULL, "the node's connection was lost");
		return;
	}
	rq->answered = true;
	rq->on_gone = NULL; // called from within
	if (http_exchange_upgrade(rq->x, protocol, &early[0], &fds[0]) < 0) {
		rq->x = NULL;
		close(fds[1]);
	} else {
		tunnel_open(server, fds, early);
	}
	buf_clear(&early[0]);
	buf_clear(&early[1]);
}

static void on_head(struct http_call *call, const struct http_response *response)
{
	struct opening *opening = http_call_arg(call);
	opening->status = response->status;
	if (response->status == 101)
		join(opening, call);
}

static void on_data(struct http_call *call, const char *bytes, size_t n)
{
	buf_add(&((struct opening *)http_call_arg(call))->problem, bytes, n);
}

static void on_end(struct http_call *call, const struct err *err)
{
	struct opening *opening = http_call_arg(call);
	opening->call = NULL;
	if (opening->status != 101)
		reply_of_agent(opening->rq, opening->status, &opening->problem, err);
	opening_free(opening);
}

void tunnel_start(struct request *rq, const char *target, const json_t *body)
{
	const struct http_request *head = http_exchange_request(rq->x);
	if (!http_header_has_token(&head->headers, "upgrade", protocol)) {
		http_exchange_set_header(rq->x, "Upgrade", protocol);
		reply_problemf(rq, 426, "send `Connection: Upgrade` and `Upgrade: dialtone-stream`",
			       "this is a stream of both ways, not an ordinary answer");
		return;
	}
	struct opening *opening = xcalloc(1, sizeof(*opening));
	*opening = (struct opening){ .rq = request_ref(rq), .problem = BUF_INIT(PROBLEM_MAX) };
	rq->arg = opening;
	rq->on_gone = client_gone;
	AUTO_FREE char *text = json_to_text(body);
	static const struct http_header headers[] = {
		{ "Content-Type", "application/json" },
		{ "Connection", "Upgrade" },
		{ "Upgrade", protocol },
	};
	struct http_call_spec spec = {
		.method = "POST",
		.target = target,
		.host = "agent",
		.headers = headers,
		.n_headers = ARRAY_LEN(headers),
		.body = text,
		.body_len = strlen(text),
		.on_head = on_head,
		.on_data = on_data,
		.on_end = on_end,
		.arg = opening,
	};
	opening->call = http_client_call(rq->server->agent, &spec);
}
