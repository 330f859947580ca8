// Bringing an artifact's content to the platform: only what this tenant has not uploaded before.
#pragma once

#include "cli/source.h"

// Shows progress. Returns CLI_OK, or prints the error and returns the exit status.
int upload_artifact(struct cli *cli, const struct source *source);
