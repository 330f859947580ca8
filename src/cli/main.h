// Entry of the command line.
#pragma once

struct cli_command;

// argv[0] is the program, argv[1] the command. more: the commands that start and check this machine's own platform; ends
// with a name of NULL. Returns the exit status (enum cli_exit).
int cli_main(int argc, char **argv, const struct cli_command *more);
