// Errors as values on the caller's stack. A function returns 0 or a negative errno; where a person will read the reason
// it also fills in a struct err. The lowest layer sets the cause, each layer above prepends one phrase.
#pragma once

#include "base/cleanup.h"

struct err {
	int code;	 // negative errno; 0 while nothing failed
	char text[1024]; // "phrase: phrase: cause"; truncated with an ellipsis, never overrun
	char hint[512];	 // what the reader can do about it; empty when there is nothing to say
};

// Sets code and text (any earlier ones are replaced; the hint is cleared). Returns code. err may be NULL.
// Appends nothing: use err_set_errno to add strerror's words.
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

// Like err_set with ": <strerror(-code)>" appended.
int err_set_errno(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

// Prepends "phrase: " to the text; returns the code already there. err may be NULL: then returns -EIO.
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Sets the hint; returns the code already there.
int err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
