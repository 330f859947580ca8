#include "model/units.h"

#include "base/str.h"

#include <errno.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit byte_units[] = {
	{ "B", 1 },
	{ "K", 1ULL << 10 },
	{ "KB", 1ULL << 10 },
	{ "KiB", 1ULL << 10 },
	{ "M", 1ULL << 20 },
	{ "MB", 1ULL << 20 },
	{ "MiB", 1ULL << 20 },
	{ "G", 1ULL << 30 },
	{ "GB", 1ULL << 30 },
	{ "GiB", 1ULL << 30 },
	{ "T", 1ULL << 40 },
	{ "TB", 1ULL << 40 },
	{ "TiB", 1ULL << 40 },
};

static const struct unit time_units[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60 * 1000 },
	{ "h", 3600 * 1000 },
};

// Digits in front, and where they end.
static int leading_number(const char *text, uint64_t *ret, const char **ret_rest)
{
	char digits[24];
	size_t n = strspn(text, "0123456789");
	if (!n || n >= sizeof(digits))
		return n ? -ERANGE : -EINVAL;
	memcpy(digits, text, n);
	digits[n] = '\0';
	*ret_rest = text + n;
	return parse_u64(digits, UINT64_MAX, ret);
}

struct kind {
	const struct unit *units;
	size_t count;
	const char *what;   // "a size"
	const char *list;   // "K, M, G or T"
	const char *likely; // the unit a bare number most likely meant
	const char *instead; // how a fraction is written
	uint64_t max;
};

static int missing_unit(const struct kind *kind, const char *text, struct err *err)
{
	err_set(err, -EINVAL, "'%s' has no unit", text);
	err_hint(err, "write %s%s; units are %s", text, kind->likely, kind->list);
	return -EINVAL;
}

static int not_whole(const struct kind *kind, const char *text, struct err *err)
{
	err_set(err, -EINVAL, "'%.40s': %s is a whole number and a unit, as %s", text, kind->what, kind->instead);
	err_hint(err, "units are %s", kind->list);
	return -EINVAL;
}

static int parse_with_unit(const struct kind *kind, const char *text, uint64_t *ret, struct err *err)
{
	uint64_t value = 0;
	const char *rest = text;
	int r = leading_number(text, &value, &rest);
	if (r == 0 && *rest == '.')
		return not_whole(kind, text, err);
	if (r == -EINVAL || strlen(rest) > 8) {
		err_set(err, -EINVAL, "'%.40s' is not %s", text, kind->what);
		err_hint(err, "write a whole number and a unit, as in 30%s; units are %s", kind->likely, kind->list);
		return -EINVAL;
	}
	if (r < 0)
		return err_set(err, -ERANGE, "'%.40s' is too large", text);
	if (!*rest && value)
		return missing_unit(kind, text, err);
	uint64_t factor = *rest ? 0 : 1;
	for (size_t i = 0; i < kind->count; i++)
		if (str_eq(rest, kind->units[i].name))
			factor = kind->units[i].factor;
	if (!factor) {
		err_set(err, -EINVAL, "'%s' is not a unit of %s", rest, kind->what);
		err_hint(err, "units are %s, as in %llu%s", kind->list, (unsigned long long)value, kind->likely);
		return -EINVAL;
	}
	if (value > kind->max / factor)
		return err_set(err, -ERANGE, "'%s' is too large", text);
	*ret = value * factor;
	return 0;
}

int parse_bytes(const char *text, uint64_t *ret, struct err *err)
{
	static const struct kind kind = { .units = byte_units,
					  .count = ARRAY_LEN(byte_units),
					  .what = "a size",
					  .list = "K, M, G and T (1024-based)",
					  .likely = "M",
					  .instead = "1536M",
					  .max = INT64_MAX };
	return parse_with_unit(&kind, text, ret, err);
}

int parse_duration(const char *text, uint32_t *ret_ms, struct err *err)
{
	static const struct kind kind = { .units = time_units,
					  .count = ARRAY_LEN(time_units),
					  .what = "a length of time",
					  .list = "ms, s, m and h",
					  .likely = "s",
					  .instead = "1500ms",
					  .max = UINT32_MAX };
	uint64_t ms = 0;
	int r = parse_with_unit(&kind, text, &ms, err);
	if (r < 0)
		return r;
	*ret_ms = (uint32_t)ms;
	return 0;
}

static int not_cpu(const char *text, struct err *err)
{
	err_set(err, -EINVAL, "'%.40s' is not a number of cores", text);
	err_hint(err, "write cores as in 2 or 0.5 (at most three decimals), or thousandths as in 500m");
	return -EINVAL;
}

int parse_cpu(const char *text, uint32_t *ret_millis, struct err *err)
{
	uint64_t whole = 0, fraction = 0;
	const char *rest = text;
	if (leading_number(text, &whole, &rest) < 0 || whole > 1000 * 1000)
		return not_cpu(text, err);
	if (str_eq(rest, "m")) {
		*ret_millis = (uint32_t)whole;
		return 0;
	}
	if (*rest == '.') {
		const char *digits = rest + 1;
		if (leading_number(digits, &fraction, &rest) < 0 || rest - digits > 3)
			return not_cpu(text, err);
		for (long i = rest - digits; i < 3; i++)
			fraction *= 10;
	}
	if (*rest)
		return not_cpu(text, err);
	*ret_millis = (uint32_t)(whole * 1000 + fraction);
	return 0;
}

void bytes_text(uint64_t bytes, char text[UNIT_TEXT_SIZE])
{
	static const char names[] = "KMGT";
	int at = -1;
	while (bytes && bytes % 1024 == 0 && at < 3) {
		bytes /= 1024;
		at++;
	}
	snprintf(text, UNIT_TEXT_SIZE, "%llu%.1s", (unsigned long long)bytes, at >= 0 ? names + at : bytes ? "B" : "");
}

void duration_text(uint64_t ms, char text[UNIT_TEXT_SIZE])
{
	const struct unit *unit = &time_units[0];
	for (size_t i = 1; i < ARRAY_LEN(time_units); i++)
		if (ms && ms % time_units[i].factor == 0)
			unit = &time_units[i];
	snprintf(text, UNIT_TEXT_SIZE, "%llu%s", (unsigned long long)(ms / unit->factor), ms ? unit->name : "");
}

void cpu_text(uint32_t millis, char text[UNIT_TEXT_SIZE])
{
	int n = snprintf(text, UNIT_TEXT_SIZE, "%u.%03u", millis / 1000, millis % 1000);
	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[n - 1] = '\0';
}
