// Private to src/model: a YAML document as a tree that remembers where everything stood. One document; no tags;
// aliases point at the node they repeat. Bounded in nodes (also those that aliases make), depth and anchors.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TREE_NODES_MAX 8192
#define TREE_DEPTH_MAX 16
#define TREE_ANCHORS_MAX 64

enum tree_kind { TREE_TEXT, TREE_LIST, TREE_MAPPING };

struct tree_node {
	enum tree_kind kind;
	uint32_t line, column; // from 1
	char *text;            // of TREE_TEXT
	bool plain;            // written without quotes
	uint32_t *items;       // of TREE_LIST; of TREE_MAPPING keys and values in turn, keys are TREE_TEXT
	uint32_t count;        // of items
	uint32_t weight;       // nodes in it, itself included, aliases followed
};

struct tree {
	struct tree_node *nodes; // the first is the root; none when the document is empty
	uint32_t count;
};

// Errors are -EINVAL: "FILE:LINE:COLUMN: cause".
int tree_parse(const char *file, const char *text, size_t n, struct tree *ret, struct err *err);
void tree_clear(struct tree *tree);

const char *tree_kind_name(const struct tree_node *node); // "a text", "a list", "a mapping"
bool tree_is_null(const struct tree_node *node);          // nothing, ~ or null, without quotes

// The value under this key of a mapping, or NULL.
const struct tree_node *tree_get(const struct tree *tree, const struct tree_node *mapping, const char *key);
