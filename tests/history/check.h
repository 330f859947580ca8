// Judges the recorded histories of all processes that had one store: is there one order of transactions that explains
// everything that anybody was answered, read or was told?
//
// It needs no search, since the store names that order: its revisions. So:
// 1. The truth is the union of what the watches delivered. A stream begins after a revision and says up to where it has
//    come; in between, it must deliver exactly those events of the truth that it covers, in order, each once. So all
//    streams agree, nothing is doubled, and what one of them lacks another one shows. What all of them lack shows in 3.
// 2. The truth is replayed, revision by revision, from the snapshot with which the first stream began. Each event must
//    follow from the record before it (previous revision, version, creation). Each revision must be the whole effect of
//    one operation that somebody asked for, whose compares and fence hold in the state before, which was answered with
//    this revision or has no certain answer (unknown, or its process died), and which was not applied before.
// 3. At each revision that an answer or a read names, the replayed state must say the same: an acknowledged operation
//    has been applied there (or had nothing to do), the compare that a conflict names does not hold and those before it
//    do, and the record that was handed out, read, listed or found in a snapshot is the one that is there.
// 4. Real time, by one monotonic clock for all: who has been answered, has read or was told of revision R proves that R
//    was there by then. What is asked for later must come after R if it writes, and see at least R if it is
//    linearizable (an empty transaction or a conflict). A read at a revision sees at least that one; reads of one
//    process never go back, and show what it was acknowledged; its operations on one key keep the order in which they
//    were asked for.
//
// Sound: it relies only on what store.h promises. An operation is in the log before the store knows of it, and an
// answer after it was given, so the times err on the safe side. Where no stream covers some revisions (an SQLite store
// between two lives of its process), the next snapshot must hold the acknowledged operations between, as far as they
// were not overwritten; other questions about these revisions are counted as not checked. Complete enough: a wrong
// answer slips through only if it is right for some history that is equal to this one in all that was observed.
#pragma once

#include "log.h"

#include "base/buf.h"

enum violation {
	VIOLATION_LOST,      // acknowledged, but not in the history at its revision
	VIOLATION_FAILED,    // refused for certain, but applied
	VIOLATION_TWICE,     // applied twice
	VIOLATION_NOBODY,    // an event that nobody asked for
	VIOLATION_PART,      // not the whole effect of one operation
	VIOLATION_DROPPED,   // a stream lacks an event
	VIOLATION_DUPLICATE, // a stream shows an event again, or out of order
	VIOLATION_DISAGREE,  // two streams show one event differently
	VIOLATION_CHAIN,     // an event does not follow from the record before it
	VIOLATION_COMPARE,   // applied although a compare did not hold, or refused although it did
	VIOLATION_FENCE,     // the same of a fence
	VIOLATION_READ,      // a read, list or snapshot differs from the state at its revision
	VIOLATION_TIME,      // real time or the order within a process is broken
	VIOLATION_TORN,      // a value is not whole
	VIOLATIONS,
};

const char *violation_name(enum violation violation);

struct verdict {
	uint64_t found[VIOLATIONS], violations; // violations: in all
	uint64_t lives, operations, reads, events, revisions, checked, not_checked;
	uint64_t ok, conflicts, refused, unknown, unanswered, fenced;
	struct buf text; // the first few of each kind, a line each
};

void check_histories(const struct log *logs, size_t n, struct verdict *ret);
void verdict_clear(struct verdict *verdict);
