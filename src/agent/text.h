// Output of applications as text for JSON.
#pragma once

#include <stddef.h>

// n bytes as UTF-8 on the heap: whatever is not valid UTF-8, and NUL, becomes U+FFFD, one for each byte.
char *text_clean(const char *bytes, size_t n);
