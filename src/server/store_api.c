#include "server/store_api.h"

#include "base/log.h"
#include "base/str.h"
#include "server/audit.h"
#include "server/change.h"
#include "server/core.h"
#include "store/backup.h"

enum { PIECE = 64 << 10 };

// ---- state

static void info_came(void *arg, json_t *info)
{
	AUTO_REQUEST struct request *rq = arg;
	reply_json(rq, 200, info);
}

void store_api_get(struct request *rq)
{
	store_info_gather(rq->server->store, info_came, request_ref(rq));
}

static void compact(struct request *rq)
{
	store_compact(rq->server->store);
	store_api_get(rq);
}

void store_api_compact(struct request *rq)
{
	change_commit(rq, store_txn_new(), NULL, NULL, compact);
}

// ---- backup

struct sending {
	struct request *rq;
	struct backup_stream *backup;
};

static void sending_free(struct sending *sending)
{
	struct request *rq = sending->rq;
	rq->on_gone = NULL;
	rq->arg = NULL;
	if (rq->x)
		http_exchange_on_drain(rq->x, NULL);
	backup_stream_free(sending->backup);
	free(sending);
	request_unref(rq);
}

// As much as the connection takes; the rest when it has drained.
static void send_on(struct http_exchange *x)
{
	struct sending *sending = ((struct request *)http_exchange_arg(x))->arg;
	char piece[PIECE];
	size_t n, waiting = 0;
	while (waiting <= HTTP_HIGH_WATER && (n = backup_stream_read(sending->backup, piece, sizeof(piece))))
		waiting = http_respond_write(x, piece, n);
	if (waiting > HTTP_HIGH_WATER)
		return;
	http_respond_end(x);
	sending_free(sending);
}

static void reader_gone(struct request *rq)
{
	sending_free(rq->arg);
}

static void begin(struct request *rq)
{
	struct backup backup;
	if (!rq->x || rq->answered)
		return;
	backup_take(rq->server->store, rq->server->platform->id, &backup);
	struct sending *sending = xcalloc(1, sizeof(*sending));
	*sending = (struct sending){ .rq = request_ref(rq), .backup = backup_stream_new(&backup) };
	rq->arg = sending;
	rq->on_gone = reader_gone;
	rq->answered = true;
	http_exchange_set_header(rq->x, "Cache-Control", "no-store");
	http_exchange_on_drain(rq->x, send_on);
	http_respond_start(rq->x, 200, "application/octet-stream");
	if (!str_eq(http_exchange_request(rq->x)->method, "HEAD")) {
		send_on(rq->x);
		return;
	}
	http_respond_end(rq->x);
	sending_free(sending);
}

static void recorded(void *arg, const struct store_answer *answer)
{
	AUTO_REQUEST struct request *rq = arg;
	if (answer->result == STORE_OK) {
		begin(rq);
	} else if (answer->result == STORE_NO_SPACE || store_is_frozen(rq->server->store)) {
		// Neither a full disk nor a move must stand in the way of a backup.
		log_warn("backup without an audit record who=%s from=%s", rq->who.name, rq->from);
		begin(rq);
	} else {
		reply_problemf(rq, 503, "ask again", "who takes a backup is recorded first, and that failed: %s",
			       answer->reason);
	}
}

// Everything is in it, secrets too: that it was taken is recorded before it begins, and so is in it.
void store_api_backup(struct request *rq)
{
	struct store_txn *txn = store_txn_new();
	audit_add(rq, txn, NULL, "the whole store");
	store_commit(rq->server->store, txn, recorded, request_ref(rq));
}
