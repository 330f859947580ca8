// gRPC over HTTP/2 (the protocol document "gRPC over HTTP2"): unary calls and bidirectional streams of protobuf-c
// messages on an http2_client.
#pragma once

#include "http/http2_client.h"

#include <protobuf-c/protobuf-c.h>

enum {
	GRPC_MESSAGE_MAX = 128 << 20,
	GRPC_TEXT_SIZE = 200,
};

// Codes of the gRPC specification; these are the ones that etcd uses.
enum grpc_code {
	GRPC_OK = 0,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_NOT_FOUND = 5,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_UNAVAILABLE = 14,
	GRPC_NO_CODE = -1, // the call ended without one
};

struct grpc_end {
	enum http2_end end;        // HTTP2_DONE: code and text are the server's
	int code;                  // enum grpc_code
	char text[GRPC_TEXT_SIZE]; // the server's, or what went wrong
};

struct grpc_call;

struct grpc_spec {
	const char *path;              // "/etcdserverpb.KV/Txn"
	const ProtobufCMessage *first; // the request; of a stream: its first message, NULL for none yet
	const ProtobufCMessageDescriptor *answer;
	unsigned timeout_ms; // 0: none
	bool stream;
	// A message of the answer, freed after the call. The call may be cancelled in it.
	void (*on_message)(struct grpc_call *call, const ProtobufCMessage *message);
	// Exactly once, unless cancelled; the call is gone afterwards.
	void (*on_end)(struct grpc_call *call, const struct grpc_end *end);
	void *arg;
};

// Never calls back before it has returned. NULL when the connection takes no calls.
struct grpc_call *grpc_call(struct http2_client *client, const struct grpc_spec *spec);
void *grpc_arg(const struct grpc_call *call);
int grpc_send(struct grpc_call *call, const ProtobufCMessage *message); // streams only; -ENOBUFS
void grpc_cancel(struct grpc_call *call);                               // no further callback
