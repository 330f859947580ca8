#include "agent/text.h"

#include "base/str.h"

// The length of the well-formed sequence at s (Unicode 15, table 3-7), or 0.
static size_t sequence(const unsigned char *s, size_t n)
{
	if (s[0] < 0x80)
		return s[0] ? 1 : 0;
	size_t len = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
	bool surrogate = s[0] == 0xed && s[1] >= 0xa0;
	bool beyond = s[0] == 0xf4 && s[1] >= 0x90;
	return overlong || surrogate || beyond ? 0 : len;
}

char *text_clean(const char *bytes, size_t n)
{
	const unsigned char *s = (const unsigned char *)bytes;
	char *out = xmalloc(3 * n + 1), *to = out;
	for (size_t i = 0; i < n;) {
		size_t len = sequence(s + i, n - i);
		if (len > 0)
			memcpy(to, bytes + i, len);
		else
			memcpy(to, "\xef\xbf\xbd", 3);
		to += len > 0 ? len : 3;
		i += len > 0 ? len : 1;
	}
	*to = '\0';
	return out;
}
