#include "model/tree.h"

#include "base/str.h"

#include <errno.h>
#include <yaml.h>

struct anchor {
	char *name;
	uint32_t node;
	bool open; // its collection is still being read
};

struct builder {
	const char *file;
	struct tree tree;
	uint32_t open[TREE_DEPTH_MAX]; // collections, outermost first
	uint32_t depth;
	struct anchor anchors[TREE_ANCHORS_MAX];
	uint32_t anchor_count;
	uint32_t documents;
	struct err *err;
};

static int fail(struct builder *builder, yaml_mark_t mark, const char *text)
{
	return err_set(builder->err, -EINVAL, "%s:%zu:%zu: %s", builder->file, mark.line + 1, mark.column + 1, text);
}

void tree_clear(struct tree *tree)
{
	for (uint32_t i = 0; i < tree->count; i++) {
		free(tree->nodes[i].text);
		free(tree->nodes[i].items);
	}
	free(tree->nodes);
	*tree = (struct tree){ 0 };
}

static void builder_clear(struct builder *builder)
{
	tree_clear(&builder->tree);
	for (uint32_t i = 0; i < builder->anchor_count; i++)
		free(builder->anchors[i].name);
}

// Hangs a node (new or repeated) into the innermost open collection.
static int attach(struct builder *builder, uint32_t node, yaml_mark_t mark)
{
	struct tree_node *nodes = builder->tree.nodes;
	if (!builder->depth)
		return 0;
	struct tree_node *parent = &nodes[builder->open[builder->depth - 1]];
	bool key = parent->kind == TREE_MAPPING && parent->count % 2 == 0;
	if (key && nodes[node].kind != TREE_TEXT)
		return fail(builder, mark, "a key must be a plain text");
	for (uint32_t i = 0; key && i < parent->count; i += 2)
		if (str_eq(nodes[parent->items[i]].text, nodes[node].text))
			return err_set(builder->err, -EINVAL,
				       "%s:%zu:%zu: key '%.64s' is given twice, first in line %u", builder->file,
				       mark.line + 1, mark.column + 1, nodes[node].text, nodes[parent->items[i]].line);
	if ((parent->count & (parent->count - 1)) == 0)
		parent->items = xreallocarray(parent->items, parent->count ? parent->count * 2 : 1, sizeof(uint32_t));
	parent->items[parent->count++] = node;
	return 0;
}

// Everything that holds this node becomes heavier.
static int weigh(struct builder *builder, uint32_t weight, yaml_mark_t mark)
{
	for (uint32_t i = 0; i < builder->depth; i++) {
		struct tree_node *parent = &builder->tree.nodes[builder->open[i]];
		parent->weight += weight;
		if (parent->weight > TREE_NODES_MAX)
			return fail(builder, mark, "too many entries (aliases repeat what they stand for)");
	}
	return 0;
}

static int remember(struct builder *builder, const yaml_char_t *anchor, uint32_t node, yaml_mark_t mark)
{
	if (!anchor)
		return 0;
	if (builder->anchor_count == TREE_ANCHORS_MAX)
		return fail(builder, mark, "too many anchors");
	builder->anchors[builder->anchor_count++] = (struct anchor){
		.name = xstrdup((const char *)anchor), .node = node, .open = builder->tree.nodes[node].kind != TREE_TEXT
	};
	return 0;
}

static int add(struct builder *builder, const yaml_event_t *event, enum tree_kind kind, uint32_t *ret)
{
	struct tree *tree = &builder->tree;
	if (tree->count == TREE_NODES_MAX)
		return fail(builder, event->start_mark, "too many entries");
	if ((tree->count & (tree->count - 1)) == 0)
		tree->nodes = xreallocarray(tree->nodes, tree->count ? tree->count * 2 : 1, sizeof(*tree->nodes));
	tree->nodes[tree->count] = (struct tree_node){ .kind = kind,
						       .line = (uint32_t)event->start_mark.line + 1,
						       .column = (uint32_t)event->start_mark.column + 1,
						       .weight = 1 };
	*ret = tree->count++;
	return 0;
}

static int add_text(struct builder *builder, const yaml_event_t *event)
{
	if (event->data.scalar.tag)
		return fail(builder, event->start_mark, "tags are not understood here");
	const char *value = (const char *)event->data.scalar.value;
	if (strlen(value) != event->data.scalar.length)
		return fail(builder, event->start_mark, "a text may not hold NUL");
	uint32_t node = 0;
	int r = add(builder, event, TREE_TEXT, &node);
	if (r < 0)
		return r;
	builder->tree.nodes[node].text = xstrdup(value);
	builder->tree.nodes[node].plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	r = attach(builder, node, event->start_mark);
	if (r >= 0)
		r = weigh(builder, 1, event->start_mark);
	return r < 0 ? r : remember(builder, event->data.scalar.anchor, node, event->start_mark);
}

static int open_collection(struct builder *builder, const yaml_event_t *event, enum tree_kind kind,
			   const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (tag)
		return fail(builder, event->start_mark, "tags are not understood here");
	if (builder->depth == TREE_DEPTH_MAX)
		return fail(builder, event->start_mark, "nested too deeply");
	uint32_t node = 0;
	int r = add(builder, event, kind, &node);
	if (r >= 0)
		r = attach(builder, node, event->start_mark);
	if (r >= 0)
		r = weigh(builder, 1, event->start_mark);
	if (r < 0)
		return r;
	builder->open[builder->depth++] = node;
	return remember(builder, anchor, node, event->start_mark);
}

static void close_collection(struct builder *builder)
{
	uint32_t node = builder->open[--builder->depth];
	for (uint32_t i = 0; i < builder->anchor_count; i++)
		if (builder->anchors[i].node == node)
			builder->anchors[i].open = false;
}

static int follow_alias(struct builder *builder, const yaml_event_t *event)
{
	const char *name = (const char *)event->data.alias.anchor;
	const struct anchor *found = NULL;
	for (uint32_t i = 0; i < builder->anchor_count; i++)
		if (str_eq(builder->anchors[i].name, name))
			found = &builder->anchors[i]; // the last one counts
	if (!found)
		return fail(builder, event->start_mark, "alias of an anchor that was not seen before");
	if (found->open)
		return fail(builder, event->start_mark, "alias of something that it is part of");
	int r = attach(builder, found->node, event->start_mark);
	return r < 0 ? r : weigh(builder, builder->tree.nodes[found->node].weight, event->start_mark);
}

static int take_event(struct builder *builder, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (builder->documents++)
			return fail(builder, event->start_mark, "a second document begins here; there may be only one");
		return 0;
	case YAML_SCALAR_EVENT:
		return add_text(builder, event);
	case YAML_ALIAS_EVENT:
		return follow_alias(builder, event);
	case YAML_SEQUENCE_START_EVENT:
		return open_collection(builder, event, TREE_LIST, event->data.sequence_start.anchor,
				       event->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return open_collection(builder, event, TREE_MAPPING, event->data.mapping_start.anchor,
				       event->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		close_collection(builder);
		return 0;
	default:
		return 0;
	}
}

static int parser_failed(struct builder *builder, const yaml_parser_t *parser)
{
	const char *problem = parser->problem ? parser->problem : "not valid YAML";
	yaml_mark_t mark = parser->problem_mark;
	if (parser->error == YAML_READER_ERROR) // has no mark of its own
		return err_set(builder->err, -EINVAL, "%s: byte %zu: not valid UTF-8 text: %s", builder->file,
			       parser->problem_offset, problem);
	err_set(builder->err, -EINVAL, "%s:%zu:%zu: not valid YAML: %s%s%s", builder->file, mark.line + 1,
		mark.column + 1, problem, parser->context ? ", " : "", parser->context ? parser->context : "");
	if (strstr(problem, "cannot start any token"))
		return err_hint(builder->err, "indent with blanks, not tabs, and quote a text that begins with @ or `");
	return -EINVAL;
}

int tree_parse(const char *file, const char *text, size_t n, struct tree *ret, struct err *err)
{
	struct builder builder = { .file = file, .err = err };
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser))
		return err_set(err, -ENOMEM, "%s: out of memory", file);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
	int r = 0;
	for (bool over = false; !over && r >= 0;) {
		yaml_event_t event;
		if (!yaml_parser_parse(&parser, &event)) {
			r = parser_failed(&builder, &parser);
			break;
		}
		over = event.type == YAML_STREAM_END_EVENT;
		r = take_event(&builder, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	if (r >= 0) {
		*ret = builder.tree;
		builder.tree = (struct tree){ 0 };
	}
	builder_clear(&builder);
	return r;
}

const char *tree_kind_name(const struct tree_node *node)
{
	if (tree_is_null(node))
		return "nothing";
	static const char *const names[] = {
		[TREE_TEXT] = "a text", [TREE_LIST] = "a list", [TREE_MAPPING] = "a mapping"
	};
	return names[node->kind];
}

bool tree_is_null(const struct tree_node *node)
{
	return node->kind == TREE_TEXT && node->plain &&
	       (!*node->text || str_eq(node->text, "~") || str_eq(node->text, "null"));
}

const struct tree_node *tree_get(const struct tree *tree, const struct tree_node *mapping, const char *key)
{
	for (uint32_t i = 0; mapping->kind == TREE_MAPPING && i + 1 < mapping->count; i += 2)
		if (str_eq(tree->nodes[mapping->items[i]].text, key))
			return &tree->nodes[mapping->items[i + 1]];
	return NULL;
}
