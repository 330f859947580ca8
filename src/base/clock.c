#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t monotonic_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

uint64_t monotonic_ms(void)
{
	return monotonic_ns() / 1000000;
}

uint64_t realtime_ns(void)
{
	return now_ns(CLOCK_REALTIME);
}

uint64_t realtime_ms(void)
{
	return realtime_ns() / 1000000;
}

void time_text(uint64_t unix_ms, char text[TIME_TEXT_SIZE])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	size_t n = strftime(text, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, TIME_TEXT_SIZE - n, ".%03uZ", (unsigned)(unix_ms % 1000));
}

int time_parse(const char *text, uint64_t *ret_unix_ms)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return -EINVAL;
	unsigned ms = 0;
	if (*rest == '.') {
		int used = 0;
		if (sscanf(rest, ".%3u%n", &ms, &used) != 1 || used != 4)
			return -EINVAL;
		rest += used;
	}
	if (strcmp(rest, "Z") != 0)
		return -EINVAL;
	time_t seconds = timegm(&tm);
	if (seconds < 0)
		return -EINVAL;
	*ret_unix_ms = (uint64_t)seconds * 1000 + ms;
	return 0;
}
