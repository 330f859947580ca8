// Builds a recipe into a cache and prints what came of it: for check-recipes and check-digests.
#include "base/str.h"
#include "image/build.h"

#include <unistd.h>

static void say(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "  %s\n", line);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: build-recipe RECIPE CACHE [--strict | --update] [--with-build] [--force]\n", stderr);
		return 2;
	}
	struct image_build_options options = { .progress = say };
	for (int i = 3; i < argc; i++) {
		if (str_eq(argv[i], "--strict"))
			options.lock = LOCK_STRICT;
		else if (str_eq(argv[i], "--update"))
			options.lock = LOCK_UPDATE;
		options.with_build |= str_eq(argv[i], "--with-build");
		options.force |= str_eq(argv[i], "--force");
	}
	struct err err = { 0 };
	AUTO_IMAGE struct image image = { 0 };
	bool built;
	if (image_build(argv[1], argv[2], &options, &image, &built, &err) < 0) {
		fprintf(stderr, "error: %s\n%s%s%s", err.text, err.hint[0] ? "hint: " : "", err.hint, err.hint[0] ? "\n" : "");
		return 1;
	}
	printf("%s@%s %s %llu\n", image.name, image.version, built ? "built" : "cached",
	       (unsigned long long)image.bytes);
	for (size_t i = 0; i < image.n_layers; i++)
		printf("layer %s\n", image.layers[i]);
	for (size_t i = 0; i < image.n_build_layers; i++)
		printf("build %s\n", image.build_layers[i]);
	return 0;
}
