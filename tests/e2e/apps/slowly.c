// On stderr a numbered line every 20 ms; on stdout lines whose end comes 0.7 s after their beginning.
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 0;; i++) {
		fprintf(stderr, "tick %d\n", i);
		if (i % 40 == 0)
			printf("line %d begins, ", i / 40);
		if (i % 40 == 35)
			printf("and ends\n");
		usleep(20000);
	}
}
