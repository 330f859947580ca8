#include "router/answer.h"

#include "http/http1.h"

#define BODY_MAX 4096

static int page(char *body, size_t size, const struct own_answer *a)
{
	return snprintf(body, size,
			"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%u %s</title>\n"
			"<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;"
			"color:#222}h1{font-size:1.4em}code{background:#eee;padding:.1em .3em}p.o{color:#666}</style></head>\n"
			"<body><h1>%s</h1><p>%s</p><p class=\"o\">Dialtone answered this itself: <code>%u %s</code></p>"
			"</body></html>\n",
			a->status, http_status_text(a->status), a->reason, a->advice, a->status, a->code);
}

void answer_write(struct buf *out, const struct own_answer *a, bool html, bool is_head, bool close)
{
	char body[BODY_MAX];
	int n = html ? page(body, sizeof(body), a)
		     : snprintf(body, sizeof(body), "%u %s: %s\n%s\n", a->status, a->code, a->reason, a->advice);
	if (n < 0 || n >= BODY_MAX)
		n = 0;
	http1_write_status_line(out, a->status);
	http1_write_header(out, "content-type", html ? "text/html; charset=utf-8" : "text/plain; charset=utf-8");
	http1_write_header_u64(out, "content-length", (uint64_t)n);
	http1_write_header(out, "x-dialtone-error", a->code);
	http1_write_header(out, "cache-control", "no-store");
	if (a->status == 503)
		http1_write_header(out, "retry-after", "1");
	if (close)
		http1_write_header(out, "connection", "close");
	http1_write_head_end(out);
	if (!is_head)
		buf_add(out, body, (size_t)n);
}
