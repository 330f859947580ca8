// The two big streams of artifacts: blobs in, content out. A piece at a time goes to the thread pool, and the
// connection waits for it.
#include "base/log.h"
#include "base/str.h"
#include "image/content.h"
#include "server/artifacts.h"
#include "server/core.h"
#include "server/peers.h"
#include "server/work.h"

#include <assert.h>
#include <errno.h>

enum { PIECE = 256 << 10, WAITING_MAX = 4 << 20 };

// ---- blobs in

struct receiving {
	struct request *rq;
	struct blob_receiver *receiver;
	struct buf waiting, taken; // to be pushed; being pushed
	bool working, ended, gone;
	bool finishing;
	size_t stored;
	int failed;
	struct err err;
};

static void receiving_free(struct receiving *receiving)
{
	blob_receiver_free(receiving->receiver);
	buf_clear(&receiving->waiting);
	buf_clear(&receiving->taken);
	receiving->rq->on_gone = NULL;
	receiving->rq->arg = NULL;
	request_unref(receiving->rq);
	free(receiving);
}

static void push_piece(void *arg)
{
	struct receiving *receiving = arg;
	if (receiving->finishing)
		receiving->failed = blob_receiver_finish(receiving->receiver, &receiving->stored, &receiving->err);
	else
		receiving->failed = blob_receiver_push(receiving->receiver, buf_data(&receiving->taken),
						       buf_len(&receiving->taken), &receiving->err);
}

static void received(struct receiving *receiving)
{
	struct request *rq = receiving->rq;
	if (receiving->failed < 0)
		reply_problem(rq, receiving->failed == -EBADMSG ? 400 : status_of(receiving->failed), NULL,
			      &receiving->err);
	else
		reply_json(rq, 200, json_pack("{s:I}", "stored", (json_int_t)receiving->stored));
	receiving_free(receiving);
}

static void next_piece(struct receiving *receiving);

static void piece_was_pushed(void *arg)
{
	struct receiving *receiving = arg;
	receiving->working = false;
	buf_reset(&receiving->taken);
	if (receiving->gone)
		receiving_free(receiving);
	else if (receiving->failed < 0 || receiving->finishing)
		received(receiving);
	else
		next_piece(receiving);
}

static void next_piece(struct receiving *receiving)
{
	if (receiving->working)
		return;
	if (buf_len(&receiving->waiting)) {
		struct buf empty = receiving->taken;
		receiving->taken = receiving->waiting;
		receiving->waiting = empty;
		http_exchange_resume(receiving->rq->x);
	} else if (receiving->ended) {
		receiving->finishing = true;
	} else {
		return;
	}
	receiving->working = true;
	server_work(receiving->rq->server, push_piece, piece_was_pushed, receiving);
}

static void blob_data(struct http_exchange *x, const char *bytes, size_t n)
{
	struct receiving *receiving = ((struct request *)http_exchange_arg(x))->arg;
	if (!receiving)
		return; // was answered with an error; the rest is passed over
	int r = buf_add(&receiving->waiting, bytes, n);
	assert(r == 0); // paused at PIECE, and the driver hands out far less than WAITING_MAX at once
	if (buf_len(&receiving->waiting) >= PIECE)
		http_exchange_pause(x);
	next_piece(receiving);
}

static void blob_end(struct http_exchange *x)
{
	struct receiving *receiving = ((struct request *)http_exchange_arg(x))->arg;
	if (!receiving)
		return;
	receiving->ended = true;
	next_piece(receiving);
}

static void uploader_gone(struct request *rq)
{
	struct receiving *receiving = rq->arg;
	receiving->gone = true;
	if (!receiving->working)
		receiving_free(receiving);
}

void artifacts_blobs(struct request *rq)
{
	struct blobs *blobs = request_blobs(rq);
	if (!blobs)
		return;
	struct receiving *receiving = xcalloc(1, sizeof(*receiving));
	*receiving = (struct receiving){ .rq = request_ref(rq),
					 .receiver = blob_receiver_new(blobs, ARTIFACT_BYTES_MAX),
					 .waiting = BUF_INIT(WAITING_MAX),
					 .taken = BUF_INIT(WAITING_MAX) };
	rq->arg = receiving;
	rq->on_gone = uploader_gone;
	http_exchange_stream_body(rq->x, blob_data, blob_end);
}

// ---- content out

struct sending {
	struct request *rq;
	struct blobs *blobs;
	struct content *content;
	char *piece;
	char *base; // digest; NULL: none
	ssize_t n;  // of the piece; 0: the end; negative: failed
	bool working, gone, started;
	struct err err;
};

static void sending_free(struct sending *sending)
{
	content_free(sending->content);
	free(sending->piece);
	free(sending->base);
	sending->rq->on_gone = NULL;
	sending->rq->arg = NULL;
	if (sending->rq->x)
		http_exchange_on_drain(sending->rq->x, NULL);
	request_unref(sending->rq);
	free(sending);
}

static int begin_content(struct sending *sending)
{
	AUTO_ARTIFACT struct artifact artifact = {}, base = {};
	int r = blobs_get_artifact(sending->blobs, request_param(sending->rq, "digest"), &artifact, &sending->err);
	if (r == 0 && sending->base)
		r = blobs_get_artifact(sending->blobs, sending->base, &base, &sending->err);
	if (r == 0)
		sending->content = content_download(&artifact, sending->blobs, sending->base ? &base : NULL);
	return r;
}

static void read_piece(void *arg)
{
	struct sending *sending = arg;
	if (!sending->content)
		sending->n = begin_content(sending);
	if (!sending->content)
		return;
	sending->n = content_read(sending->content, sending->piece, PIECE, &sending->err);
}

static void piece_was_read(void *arg);

static void read_on(struct sending *sending)
{
	sending->working = true;
	server_work(sending->rq->server, read_piece, piece_was_read, sending);
}

// A file that does not have its digest any more: the reader must not take the stream for whole.
static void break_off(struct sending *sending)
{
	struct request *rq = sending->rq;
	struct err err = sending->err;
	if (!sending->started && sending->n == -ENOENT) { // it may have been uploaded to another server
		request_ref(rq);
		sending_free(sending);
		if (!peers_have(rq))
			reply_problem(rq, 404, NULL, &err);
		request_unref(rq);
		return;
	}
	if (sending->started) {
		log_error("artifact damaged digest=%s error=\"%s\"", request_param(rq, "digest"), sending->err.text);
		sending->rq->on_gone = NULL;
		http_respond_abort(rq->x);
	} else {
		reply_problem(rq, sending->n == -EBADMSG ? 500 : status_of((int)sending->n), NULL, &sending->err);
	}
	sending_free(sending);
}

static void piece_was_read(void *arg)
{
	struct sending *sending = arg;
	struct http_exchange *x = sending->rq->x;
	sending->working = false;
	if (sending->gone) {
		sending_free(sending);
		return;
	}
	if (sending->n < 0) {
		break_off(sending);
		return;
	}
	if (!sending->started)
		http_respond_start(x, 200, "application/x-tar");
	sending->started = sending->rq->answered = true;
	if (sending->n == 0 || str_eq(http_exchange_request(x)->method, "HEAD")) {
		http_respond_end(x);
		sending_free(sending);
	} else if (http_respond_write(x, sending->piece, (size_t)sending->n) <= HTTP_HIGH_WATER) {
		read_on(sending);
	}
}

static void may_send(struct http_exchange *x)
{
	struct sending *sending = ((struct request *)http_exchange_arg(x))->arg;
	if (!sending->working)
		read_on(sending);
}

static void downloader_gone(struct request *rq)
{
	struct sending *sending = rq->arg;
	sending->gone = true;
	if (!sending->working)
		sending_free(sending);
}

void artifacts_content(struct request *rq)
{
	const char *fault = check_digest(request_param(rq, "digest"));
	struct blobs *blobs = fault ? NULL : request_blobs(rq);
	if (fault)
		reply_problemf(rq, 400, NULL, "the digest '%.100s' %s", request_param(rq, "digest"), fault);
	AUTO_FREE char *base = request_query(rq, "base");
	if (base && check_digest(base)) {
		reply_problemf(rq, 400, NULL, "query parameter 'base' %s", check_digest(base));
		return;
	}
	if (!blobs)
		return;
	struct sending *sending = xcalloc(1, sizeof(*sending));
	*sending = (struct sending){
		.rq = request_ref(rq), .blobs = blobs, .piece = xmalloc(PIECE), .base = TAKE_PTR(base)
	};
	rq->arg = sending;
	rq->on_gone = downloader_gone;
	http_exchange_on_drain(rq->x, may_send);
	read_on(sending);
}
