// Entry of the command line.
#pragma once

// argv[0] is the program, argv[1] the command. Returns the exit status (enum cli_exit).
int cli_main(int argc, char **argv);
