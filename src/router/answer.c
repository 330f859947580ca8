#include "router/answer.h"

#include "http/http1.h"

#define BODY_MAX 4096

const struct own_answer answer_no_route = { 404, "no-route", "No application has this address.",
					    "Check the host name; 'dialtone apps' lists the addresses." };
const struct own_answer answer_no_table = {
	503, "no-table", "This router has no routes yet.",
	"It gets them from the platform's API; 'dialtone status' shows its state."
};
const struct own_answer answer_no_proxy = { 501, "no-proxy", "This router is not a proxy for other hosts.",
					    "Send the request itself instead of CONNECT." };
const struct own_answer answer_dishonest = { 400, "bad-connection-field",
					     "The Connection field names a field that may not be dropped.",
					     "The request was not passed on." };
const struct own_answer answer_connect_failed = { 502, "connect-failed", "No instance accepted the connection.",
						  "'dialtone ps' shows the instances and 'dialtone why' the reason." };
const struct own_answer answer_broke_off = { 502, "broken", "The instance broke the connection before it answered.",
					     "'dialtone logs' shows what it said; it may have crashed." };
const struct own_answer answer_bad_answer = { 502, "bad-answer", "The instance's answer is not valid HTTP.",
					      "'dialtone logs' may show what went wrong." };
const struct own_answer answer_too_slow = { 504, "timeout", "The instance did not answer in time.",
					    "'dialtone logs' shows what it is busy with." };
const struct own_answer answer_client_late = { 408, "slow-request", "The rest of the request did not come in time.",
					       "The instance was still waiting for it." };
const struct own_answer answer_head_late = { 408, "slow-request", "The request's head did not come in time.",
					     "It was not passed on." };
const struct own_answer answer_overloaded = { 503, "overloaded", "This router has no free connections.",
					      "Its operator sees more in the router's log." };

const struct own_answer *answer_nothing_ready(enum route_state state)
{
	static const struct own_answer answers[] = {
		[ROUTE_RUNNING] = { 503, "none-ready", "No instance of this application is ready.",
				    "Its owner finds out more with 'dialtone why'." },
		[ROUTE_STOPPED] = { 503, "stopped", "This application is stopped, or scaled to 0.",
				    "Its owner starts it with 'dialtone start' or 'dialtone scale'." },
		[ROUTE_FAILING] = { 503, "failing", "This application does not come up.",
				    "Its owner finds the reason with 'dialtone why' and 'dialtone logs'." },
		[ROUTE_STARTING] = { 503, "starting", "This application is starting.",
				     "It will answer in a moment; 'dialtone why' shows how far it is." },
	};
	return &answers[state < ARRAY_LEN(answers) ? state : ROUTE_RUNNING];
}

static int page(char *body, size_t size, const struct own_answer *a)
{
	return snprintf(
		body, size,
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
	http1_write_date(out);
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
