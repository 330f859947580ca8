// Linked into the measured application: says when it was exec'd, before anything else that it does.
#include <stdio.h>
#include <time.h>

__attribute__((constructor)) static void say_when(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	dprintf(1, "exec'd at %lld\n", (long long)now.tv_sec * 1000000000 + now.tv_nsec);
}
