#include "image/stack.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/image-file.h"
#include "image/layer.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>

#define IMAGE_FILE_MAX (4u << 20)

static const char *kind_name(enum image_kind kind)
{
	return kind == IMAGE_STACK ? "stack" : "runtime";
}

static void texts_free(char **items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(items[i]);
	free(items);
}

static void env_free(struct env_pair *env, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(env[i].name);
		free(env[i].value);
	}
	free(env);
}

void image_clear(struct image *i)
{
	free(i->name);
	free(i->version);
	free(i->about);
	texts_free(i->layers, i->n_layers);
	texts_free(i->build_layers, i->n_build_layers);
	env_free(i->env, i->n_env);
	env_free(i->build_env, i->n_build_env);
	free(i->stack);
	free(i->build_stack);
	free(i->command);
	texts_free(i->packages, i->n_packages);
	*i = (struct image){ 0 };
}

void images_free(struct image *images, size_t n)
{
	for (size_t i = 0; i < n; i++)
		image_clear(&images[i]);
	free(images);
}

// --- versions and references -----------------------------------------------------------------------------------------

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int version_compare(const char *a, const char *b)
{
	while (*a || *b) {
		if (is_digit(*a) && is_digit(*b)) {
			while (*a == '0' && is_digit(a[1]))
				a++;
			while (*b == '0' && is_digit(b[1]))
				b++;
			size_t n = strspn(a, "0123456789"), m = strspn(b, "0123456789");
			int order = n != m ? (n > m) - (n < m) : strncmp(a, b, n);
			if (order)
				return order;
			a += n;
			b += m;
		} else if (*a != *b) {
			return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
		} else {
			a++;
			b++;
		}
	}
	return 0;
}

bool version_covers(const char *asked, const char *version)
{
	size_t n = strlen(asked);
	return strncmp(asked, version, n) == 0 && (!version[n] || version[n] == '.' || version[n] == '-');
}

int image_ref_parse(const char *ref, char **ret_name, char **ret_version, struct err *err)
{
	const char *at = strchr(ref, '@');
	AUTO_FREE char *name = at ? xstrndup(ref, (size_t)(at - ref)) : xstrdup(ref);
	const char *version = at ? at + 1 : NULL;
	if (!str_is_label(name))
		return err_set(err, -EINVAL, "'%.100s' is not NAME or NAME@VERSION", ref);
	size_t n = version ? strspn(version, "0123456789abcdefghijklmnopqrstuvwxyz.-+") : 0;
	if (version && (!n || version[n] || version[0] == '.' || n > 64))
		return err_set(err, -EINVAL,
			       "'%.100s': the version behind '@' must be digits, letters, dots and dashes", ref);
	*ret_version = version ? xstrdup(version) : NULL;
	*ret_name = TAKE_PTR(name);
	return 0;
}

// --- files -----------------------------------------------------------------------------------------------------------

static int read_strings(json_t *array, char ***ret, size_t *ret_n)
{
	size_t n = json_array_size(array);
	*ret = xcalloc(n, sizeof(**ret));
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		if (!text)
			return -EINVAL;
		(*ret)[(*ret_n)++] = xstrdup(text);
	}
	return 0;
}

static int read_env(json_t *object, struct env_pair **ret, size_t *ret_n)
{
	*ret = xcalloc(json_object_size(object), sizeof(**ret));
	const char *name;
	json_t *value;
	json_object_foreach(object, name, value)
	{
		if (!json_is_string(value))
			return -EINVAL;
		(*ret)[(*ret_n)++] = (struct env_pair){ xstrdup(name), xstrdup(json_string_value(value)) };
	}
	return 0;
}

static char *copy_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? xstrdup(text) : NULL;
}

static int layers_valid(char **layers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!digest_valid(layers[i]))
			return 0;
	return 1;
}

static int read_image(json_t *o, struct image *i)
{
	i->name = copy_text(o, "name");
	i->version = copy_text(o, "version");
	i->about = copy_text(o, "about");
	i->stack = copy_text(o, "stack");
	i->build_stack = copy_text(o, "build_stack");
	i->command = copy_text(o, "command");
	i->has_shell = json_is_true(json_object_get(o, "has_shell"));
	i->build_ready = json_is_true(json_object_get(o, "build_ready"));
	i->bytes = (uint64_t)json_integer_value(json_object_get(o, "bytes"));
	i->built_ms = (uint64_t)json_integer_value(json_object_get(o, "built_ms"));
	int r = read_strings(json_object_get(o, "layers"), &i->layers, &i->n_layers);
	if (r == 0)
		r = read_strings(json_object_get(o, "build_layers"), &i->build_layers, &i->n_build_layers);
	if (r == 0)
		r = read_strings(json_object_get(o, "packages"), &i->packages, &i->n_packages);
	if (r == 0)
		r = read_env(json_object_get(o, "env"), &i->env, &i->n_env);
	if (r == 0)
		r = read_env(json_object_get(o, "build_env"), &i->build_env, &i->n_build_env);
	bool whole = r == 0 && i->name && i->version && layers_valid(i->layers, i->n_layers) &&
		     layers_valid(i->build_layers, i->n_build_layers);
	return whole ? 0 : -EINVAL;
}

int image_file_read(const char *path, enum image_kind kind, struct image *ret, char **ret_made_from, struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(IMAGE_FILE_MAX);
	int r = file_read(path, &text, err);
	if (r < 0)
		return r;
	json_error_t where;
	json_t *o = json_loadb(buf_data(&text), buf_len(&text), JSON_REJECT_DUPLICATES, &where);
	struct image i = { .kind = kind };
	r = o ? read_image(o, &i) : -EINVAL;
	if (r == 0 && ret_made_from)
		*ret_made_from = copy_text(o, "made_from");
	json_decref(o);
	if (r < 0) {
		image_clear(&i);
		err_set(err, -EBADMSG, "'%s' is corrupted", path);
		return err_hint(err, "remove it and build the %s again", kind_name(kind));
	}
	*ret = i;
	return 0;
}

static json_t *write_strings(char **items, size_t n)
{
	json_t *array = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(items[i]));
	return array;
}

static json_t *write_env(const struct env_pair *env, size_t n)
{
	json_t *object = json_object();
	for (size_t i = 0; i < n; i++)
		json_object_set_new(object, env[i].name, json_string(env[i].value));
	return object;
}

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

char *image_folder(const char *cache, enum image_kind kind, const char *name)
{
	return xasprintf("%s/%ss%s%s", cache, kind_name(kind), name ? "/" : "", name ? name : "");
}

int image_file_write(const char *cache, const struct image *i, const char *made_from, struct err *err)
{
	json_t *o = json_object();
	set_text(o, "name", i->name);
	set_text(o, "version", i->version);
	set_text(o, "about", i->about);
	json_object_set_new(o, "layers", write_strings(i->layers, i->n_layers));
	json_object_set_new(o, "build_layers", write_strings(i->build_layers, i->n_build_layers));
	json_object_set_new(o, "build_ready", json_boolean(i->build_ready));
	json_object_set_new(o, "env", write_env(i->env, i->n_env));
	json_object_set_new(o, "build_env", write_env(i->build_env, i->n_build_env));
	json_object_set_new(o, "has_shell", json_boolean(i->has_shell));
	set_text(o, "stack", i->stack);
	set_text(o, "build_stack", i->build_stack);
	set_text(o, "command", i->command);
	json_object_set_new(o, "packages", write_strings(i->packages, i->n_packages));
	json_object_set_new(o, "bytes", json_integer((json_int_t)i->bytes));
	json_object_set_new(o, "built_ms", json_integer((json_int_t)i->built_ms));
	set_text(o, "made_from", made_from);
	AUTO_FREE char *text = json_dumps(o, JSON_INDENT(1));
	json_decref(o);
	if (!text)
		return err_set(err, -EINVAL, "%s '%s' holds text that is not UTF-8", kind_name(i->kind), i->name);
	AUTO_FREE char *dir = image_folder(cache, i->kind, i->name);
	AUTO_FREE char *path = xasprintf("%s/%s.json", dir, i->version);
	int r = dir_make(dir, 0755, err);
	return r < 0 ? r : file_write_durable(path, text, strlen(text), 0644, err);
}

// --- finding ---------------------------------------------------------------------------------------------------------

// "12-1a2b3c4d" is version 12 with other package versions: of the same version, what was built last is the newest.
static int compare_newest(const void *a, const void *b)
{
	const struct image *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	if (order)
		return order;
	AUTO_FREE char *left = xstrndup(x->version, strcspn(x->version, "-"));
	AUTO_FREE char *right = xstrndup(y->version, strcspn(y->version, "-"));
	order = version_compare(right, left);
	return order ? order : (x->built_ms < y->built_ms) - (x->built_ms > y->built_ms);
}

struct found {
	struct image *items;
	size_t n;
};

static int read_folder(const char *cache, enum image_kind kind, const char *name, struct found *f, struct err *err)
{
	AUTO_FREE char *dir = image_folder(cache, kind, name);
	DIR *d = opendir(dir);
	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_set_errno(err, -errno, "cannot read '%s'", dir);
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		if (!str_ends(e->d_name, ".json") || e->d_name[0] == '.')
			continue;
		AUTO_FREE char *path = xasprintf("%s/%s", dir, e->d_name);
		f->items = xreallocarray(f->items, f->n + 1, sizeof(*f->items));
		r = image_file_read(path, kind, &f->items[f->n], NULL, err);
		f->n += r == 0;
	}
	closedir(d);
	return r;
}

int images_list(const char *cache, enum image_kind kind, struct image **ret, size_t *ret_n, struct err *err)
{
	struct found f = { 0 };
	AUTO_FREE char *dir = image_folder(cache, kind, NULL);
	DIR *d = opendir(dir);
	if (!d && errno != ENOENT)
		return err_set_errno(err, -errno, "cannot read '%s'", dir);
	int r = 0;
	for (struct dirent *e; d && r == 0 && (e = readdir(d));)
		if (str_is_label(e->d_name))
			r = read_folder(cache, kind, e->d_name, &f, err);
	if (d)
		closedir(d);
	if (r < 0) {
		images_free(f.items, f.n);
		return r;
	}
	if (f.n)
		qsort(f.items, f.n, sizeof(*f.items), compare_newest);
	*ret = f.items;
	*ret_n = f.n;
	return 0;
}

// Of what is there, the newest of the name that was most likely meant: in the version that was asked for, if there is
// one. NULL: nothing is near. all: sorted, newest first.
static const struct image *nearest_image(const struct found *all, const char *name, const char *version)
{
	AUTO_FREE const char **names = xcalloc(all->n + 1, sizeof(char *));
	for (size_t i = 0; i < all->n; i++)
		names[i] = all->items[i].name;
	const char *meant = str_nearest(name, names, all->n);
	const struct image *newest = NULL;
	for (size_t i = 0; meant && i < all->n; i++) {
		if (!str_eq(all->items[i].name, meant))
			continue;
		if (version && version_covers(version, all->items[i].version))
			return &all->items[i];
		newest = newest ? newest : &all->items[i];
	}
	return newest;
}

static void hint_at(enum image_kind kind, const struct image *meant, const char *ref, struct err *err)
{
	const char *name = meant ? meant->name : NULL, *at = strchr(ref, '@');
	size_t n = at ? (size_t)(at - ref) : strlen(ref);
	if (!meant)
		err_hint(err, "build it first: dialtone %s build %s", kind_name(kind), ref);
	else if (strlen(name) == n && strncmp(name, ref, n) == 0)
		err_hint(err, "choose '%s@%s', or build it: dialtone %s build %s", name, meant->version,
			 kind_name(kind), ref);
	else if (at && version_covers(at + 1, meant->version))
		err_hint(err, "did you mean '%s%s'?", name, at);
	else
		err_hint(err, "did you mean '%s%s%s'?", name, at ? "@" : "", at ? meant->version : "");
}

static int not_found(const char *cache, enum image_kind kind, const char *ref, struct err *err)
{
	AUTO_FREE char *name = NULL, *version = NULL;
	struct found all = { 0 };
	AUTO_BUF struct buf names = BUF_INIT(300);
	image_ref_parse(ref, &name, &version, NULL);
	if (images_list(cache, kind, &all.items, &all.n, NULL) == 0)
		for (size_t i = 0; i < all.n; i++)
			buf_addf(&names, "%s%s@%s", i ? ", " : "", all.items[i].name, all.items[i].version);
	err_set(err, -ENOENT, "there is no %s '%s' on this machine%s%s", kind_name(kind), ref,
		all.n ? "; there are: " : "", buf_str(&names));
	hint_at(kind, nearest_image(&all, name, version), ref, err);
	images_free(all.items, all.n);
	return -ENOENT;
}

static int find(const char *cache, enum image_kind kind, const char *ref, struct image *ret, struct err *err)
{
	AUTO_FREE char *name = NULL, *version = NULL;
	int r = image_ref_parse(ref, &name, &version, err);
	if (r < 0)
		return r;
	struct found f = { 0 };
	r = read_folder(cache, kind, name, &f, err);
	if (r == 0 && f.n)
		qsort(f.items, f.n, sizeof(*f.items), compare_newest);
	size_t i = 0, exact = 0;
	while (exact < f.n && version && !str_eq(version, f.items[exact].version))
		exact++;
	if (version && exact < f.n)
		i = exact;
	while (i < f.n && version && !version_covers(version, f.items[i].version))
		i++;
	if (r == 0 && i == f.n)
		r = not_found(cache, kind, ref, err);
	if (r == 0) {
		*ret = f.items[i];
		f.items[i] = (struct image){ 0 };
	}
	images_free(f.items, f.n);
	return r;
}

int stack_find(const char *cache, const char *ref, struct image *ret, struct err *err)
{
	return find(cache, IMAGE_STACK, ref, ret, err);
}

int runtime_find(const char *cache, const char *ref, struct image *ret, struct err *err)
{
	return find(cache, IMAGE_RUNTIME, ref, ret, err);
}
