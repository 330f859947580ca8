// The commands that are the platform's own processes or start and stop them. argv[0] is the program, argv[1] the
// command; each returns the exit status: 0, 1 after a failure (said on standard error), 2 for wrong words.
#pragma once

int up_main(int argc, char **argv);
int down_main(int argc, char **argv);
