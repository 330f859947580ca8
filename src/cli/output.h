// What people read: tables, times, sizes, states. Colour only on a terminal; control bytes from elsewhere are escaped.
#pragma once

#include "cli/cli.h"

// Prints json on standard output, indented, with a newline; returns CLI_OK.
int print_json(const json_t *json);

struct listing;

// Column titles end with NULL. Titles are printed in capitals, columns padded to their widest cell.
struct listing *listing_new(const struct cli *cli, const char *const *titles);
// One cell of the current row; the row ends by itself after its last column. Copied.
void listing_cell(struct listing *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
// A cell in the colour of a state: ready green, failing red, in between yellow.
void listing_state(struct listing *t, const char *state);
// Prints and frees. `none` is said instead of a table without rows.
void listing_end(struct listing *t, const char *none);

#define SHORT_TEXT_SIZE 32
void age_text(uint64_t since_unix_ms, char text[SHORT_TEXT_SIZE]);   // "3m", "2d"; "-" for 0
void size_text(uint64_t bytes, char text[SHORT_TEXT_SIZE]);	     // "256M"
void value_text(const char *value, char *text, size_t size); // a digest as the 12 digits that tables show
void local_time_text(uint64_t unix_ms, char text[SHORT_TEXT_SIZE]); // "2026-01-02 03:04:05.678"

// "\033[…m" or "" without colour.
const char *colour_of_state(const struct cli *cli, const char *state);
const char *colour_end(const struct cli *cli);
const char *colour_dim(const struct cli *cli);

// A string of a JSON object, "" when it is not there; likewise numbers (0) and booleans (false).
const char *get_text(const json_t *object, const char *key);
uint64_t get_number(const json_t *object, const char *key);
bool get_flag(const json_t *object, const char *key);

// Prints text with control bytes other than tab made visible as \xNN, so that no log line can drive the terminal.
void print_safe(FILE *to, const char *text);

// What a change of an application came to: "serves", or "has completed".
const char *done_words(const json_t *app);

// "exit status 1", "killed by signal 9 (out of memory)", from a report's exit object.
void exit_words(const json_t *exit, char *text, size_t size);
