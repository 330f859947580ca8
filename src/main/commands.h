// The commands that start, stop and check the platform of this machine. They stand beside the others of the command line.
#pragma once

#include "cli/cli.h"

extern const struct cli_command machine_commands[]; // ends with a name of NULL

int command_up(struct cli *cli);
int command_down(struct cli *cli);
int command_doctor(struct cli *cli);
int command_store(struct cli *cli);
