// Field tables: one table per object type gives JSON in, JSON out, limits, manifest keys, copies and JSON Schema.
// A table describes a C struct; everything a parsed object points to is on the heap and released by fields_clear.
// Tables are constant; any thread may use them.
#pragma once

#include "base/err.h"
#include "model/json.h"

#include <stdbool.h>
#include <stdint.h>

enum field_type {
	FIELD_TEXT,    // char *, UTF-8; min and max in bytes; NULL when absent
	FIELD_LABEL,   // char *, a DNS label
	FIELD_BOOL,    // bool
	FIELD_U32,     // uint32_t
	FIELD_U64,     // uint64_t, at most INT64_MAX in JSON
	FIELD_BYTES,   // uint64_t; "256M" for people
	FIELD_MS,      // uint32_t, a length of time; "5s" for people
	FIELD_CPU,     // uint32_t, thousandths of a core; "0.5" or "500m" for people
	FIELD_TIME,    // uint64_t, milliseconds since 1970
	FIELD_ENUM,    // unsigned enum; a name of .names in JSON
	FIELD_OBJECT,  // struct inside; absent means all defaults
	FIELD_POINTER, // struct *; NULL when absent or null
	FIELD_ARRAY,   // T * with a uint32_t count; min and max in elements
	FIELD_MAP,     // the same; T's first member is char *name, the JSON key; kept sorted by it
	FIELD_ANY,     // json_t *, any value; NULL when absent
};

enum field_flag {
	REQUIRED = 1 << 0,
	OPTIONAL = 1 << 1,
	HIDDEN = 1 << 2,    // left out of JSON when it holds its default (or is empty)
	IDENTITY = 1 << 3,  // names its element in differences: routes[shop.example.org/]
	INHERITED = 1 << 4, // of a process: in a manifest also beside "processes", for all of them
};

struct fields;

struct field {
	const char *name;  // in JSON
	const char *human; // in the manifest and in differences; NULL: as name
	enum field_type type;
	unsigned flags;
	uint32_t offset, count_offset;
	uint64_t min, max;
	uint64_t preset;                        // default of numbers, booleans and enums
	const struct fields *of;                // OBJECT, POINTER, ARRAY and MAP: each element
	const char *const *names;               // ENUM: terminated by NULL; an empty name has no JSON form
	const char *(*check)(const char *text); // TEXT, and the keys of MAP: NULL, or what is wrong ("must …")
	const char *about;
};

// Where in the object an error is: "processes.web.port", in JSON names.
struct field_path {
	char text[256];
};

struct fields {
	const char *name; // in schemas: "Process"
	const char *about;
	const struct field *items;
	uint32_t count, size;  // of items; of the struct
	bool bare;             // the JSON value is that of the only field (besides a map's name)
	const char *shorthand; // manifest: a plain text in place of the mapping means this (human) key
	// Manifest: the object from a plain text; NULL, or what is wrong ("must …").
	const char *(*from_text)(void *object, const char *text);
	// Called when all fields of one object are in: fills in what depends on other fields, checks across them.
	// On failure it names the field (relative to the object) in path. May be NULL.
	int (*finish)(void *object, struct field_path *path, struct err *err);
};

#define FIELD(struct_, member_, type_, flags_, min_, max_, ...)                                                        \
	FIELD_AS(struct_, member_, #member_, type_, flags_, min_, max_, ##__VA_ARGS__)
#define FIELD_AS(struct_, member_, name_, type_, flags_, min_, max_, ...)                                              \
	{                                                                                                              \
		.name = name_, .type = type_, .flags = flags_, .offset = offsetof(struct struct_, member_),            \
		.min = min_, .max = max_, ##__VA_ARGS__                                                                \
	}
#define FIELD_LIST(struct_, member_, count_, type_, flags_, max_, ...)                                                 \
	{                                                                                                              \
		.name = #member_, .type = type_, .flags = flags_, .offset = offsetof(struct struct_, member_),         \
		.count_offset = offsetof(struct struct_, count_), .max = max_, ##__VA_ARGS__                           \
	}
#define FIELDS(struct_, items_, name_, ...)                                                                            \
	{                                                                                                              \
		.name = name_, .items = items_, .count = ARRAY_LEN(items_), .size = sizeof(struct struct_),            \
		##__VA_ARGS__                                                                                          \
	}

enum fields_mode {
	FIELDS_STRICT,  // unknown keys are errors: what people and their tools send
	FIELDS_LENIENT, // unknown keys are passed over: what other versions of the platform wrote
};

// Sets every member to its default; nothing on the heap.
void fields_init(const struct fields *fields, void *object);

// Parses; *object is overwritten (on failure: untouched). Errors are -EINVAL with the text "PATH: cause" and where it
// applies a "did you mean" hint; ret_path, if not NULL, gets the path alone.
int fields_parse(const struct fields *fields, const json_t *json, enum fields_mode mode, void *object,
		 struct field_path *ret_path, struct err *err);

// A new reference; never NULL.
json_t *fields_write(const struct fields *fields, const void *object);

// Frees what the object owns and zeroes it. A zeroed object is fine.
void fields_clear(const struct fields *fields, void *object);

// A deep copy; *to is overwritten without being cleared.
void fields_copy(const struct fields *fields, const void *from, void *to);

bool fields_equal(const struct fields *fields, const void *a, const void *b);

// JSON Schema (2020-12, as in OpenAPI 3.1) of the type. Types below it are named by reference
// ("#/components/schemas/NAME") and added to *schemas (an object; types already there are left alone).
json_t *fields_schema(const struct fields *fields, json_t *schemas);

// Maps of texts and of numbers, and lists of texts.
struct pair {
	char *name, *value;
};
struct count {
	char *name;
	uint32_t value;
};
extern const struct fields env_value_fields; // struct pair; at most 32 KiB a value
extern const struct fields count_fields;     // struct count
extern const struct fields word_fields;      // char *; at most 32 KiB
extern const struct fields digest_fields;    // char *; "sha256:…"

// For .check.
const char *check_env_name(const char *text);
const char *check_digest(const char *text);

// The value of the pair with this name, or NULL. Pairs are sorted by name.
const char *pairs_get(const struct pair *pairs, uint32_t count, const char *name);

// Typed functions for one object type NAME with its table NAME_fields.
//   NAME_parse       strict; NAME_parse_text lenient (stored or sent by the platform itself)
//   NAME_write       JSON value; NAME_text compact text on the heap
//   NAME_clear       frees and zeroes; NAME_copy deep
#define FIELDS_OBJECT(name_)                                                                                           \
	extern const struct fields name_##_fields;                                                                     \
	static inline UNUSED int name_##_parse(const json_t *json, struct name_ *ret, struct field_path *ret_path,     \
					       struct err *err)                                                        \
	{                                                                                                              \
		return fields_parse(&name_##_fields, json, FIELDS_STRICT, ret, ret_path, err);                         \
	}                                                                                                              \
	static inline UNUSED int name_##_parse_text(const void *bytes, size_t n, struct name_ *ret, struct err *err)   \
	{                                                                                                              \
		return fields_parse_text(&name_##_fields, bytes, n, ret, err);                                         \
	}                                                                                                              \
	static inline UNUSED json_t *name_##_write(const struct name_ *object)                                         \
	{                                                                                                              \
		return fields_write(&name_##_fields, object);                                                          \
	}                                                                                                              \
	static inline UNUSED char *name_##_text(const struct name_ *object)                                            \
	{                                                                                                              \
		return fields_text(&name_##_fields, object);                                                           \
	}                                                                                                              \
	static inline UNUSED void name_##_clear(struct name_ *object)                                                  \
	{                                                                                                              \
		fields_clear(&name_##_fields, object);                                                                 \
	}                                                                                                              \
	static inline UNUSED void name_##_copy(const struct name_ *from, struct name_ *to)                             \
	{                                                                                                              \
		fields_copy(&name_##_fields, from, to);                                                                \
	}

// Lenient parse of JSON bytes; compact canonical text on the heap.
int fields_parse_text(const struct fields *fields, const void *bytes, size_t n, void *object, struct err *err);
char *fields_text(const struct fields *fields, const void *object);
