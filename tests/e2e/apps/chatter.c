// Writes numbered lines at a steady rate until the number given: chatter LINES_PER_SECOND COUNT BYTES. Serves nothing.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double rate = argc > 1 ? atof(argv[1]) : 1;
	long count = argc > 2 ? atol(argv[2]) : 1;
	int size = argc > 3 ? atoi(argv[3]) : 0;
	int crash_at = getenv("CRASH_AT") ? atoi(getenv("CRASH_AT")) : -1;
	double began = now(), longest = 0;
	char *padding = calloc(1, (size_t)size + 1);
	memset(padding, 'x', (size_t)size);
	for (long i = 0; i < count; i++) {
		double due = began + (double)i / rate, before;
		while ((before = now()) < due)
			usleep((useconds_t)((due - before) * 1e6) + 1);
		printf("number %ld %s\n", i, padding);
		fflush(stdout);
		if (now() - before > longest)
			longest = now() - before; // how long the platform made the application wait
		if (i == crash_at) {
			fprintf(stderr, "giving up at %ld\n", i);
			return 3;
		}
	}
	printf("done, longest write %.3f s\n", longest);
	fflush(stdout);
	for (;;)
		pause();
}
