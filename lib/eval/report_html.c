/* SPDX-License-Identifier: MIT
 *
 * The page of a report: one file without scripts or outside resources. */
#include "ft/memory.h"
#include "ft/report.h"

#include <string.h>

/* Appends with a sticky status, so that the page reads top to bottom. */
struct page {
    struct ft_buffer *out;
    struct ft_error *error;
    enum ft_status status;
};

static void put(struct page *p, const char *text) {
    if (!p->status) p->status = ft_buffer_string(p->out, text, p->error);
}

static void put_text(struct page *p, const char *text) {
    for (; *text && !p->status; text++) {
        switch (*text) {
        case '<': put(p, "&lt;"); break;
        case '>': put(p, "&gt;"); break;
        case '&': put(p, "&amp;"); break;
        case '"': put(p, "&quot;"); break;
        default: p->status = ft_buffer_append(p->out, text, 1, p->error);
        }
    }
}

static void put_number(struct page *p, const char *before, double value, const char *after) {
    if (!p->status) p->status = ft_buffer_printf(p->out, p->error, "%s%.4g%s", before, value, after);
}

static const char head[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
    "<title>ft report</title><style>"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}"
    "td.n{font-variant-numeric:tabular-nums;white-space:nowrap}.verdict{background:#eef6ee;border-left:4px solid #2d7d46;padding:.7rem 1rem}"
    ".bar{position:relative;height:1.1rem;background:#eef0f3;margin:.15rem 0}.bar b{position:absolute;top:0;bottom:0;left:0;display:block}"
    ".bar i{position:absolute;top:40%;height:20%;background:#1b1f24;display:block}.base b{background:#9aa7b4}.tuned b{background:#2d7d46}"
    "pre{white-space:pre-wrap;margin:0;font:13px/1.4 ui-monospace,monospace}.ok{color:#2d7d46}.no{color:#b3261e}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e4e7ea}th,td{border-color:#30363d}.bar{background:#252a30}"
    ".bar i{background:#e4e7ea}.verdict{background:#18251b}.base b{background:#5b6875}}"
    "</style>";

static bool is_share(const struct ft_metric *m) { return m->binary || strcmp(m->name, "token_accuracy") == 0; }

static void put_bar(struct page *p, const char *class, const struct ft_paired *paired, int s) {
    if (p->status) return;
    double low = 100.0 * paired->interval[s].low, high = 100.0 * paired->interval[s].high;
    p->status = ft_buffer_printf(p->out, p->error,
                                 "<div class=\"bar %s\"><b style=\"width:%.2f%%\"></b><i style=\"left:%.2f%%;width:%.2f%%\"></i></div>",
                                 class, 100.0 * paired->value[s], low, high - low);
}

static void put_value(struct page *p, const struct ft_metric *m, int s) {
    const struct ft_paired *q = &m->paired;
    double scale = is_share(m) ? 100.0 : 1.0;
    const char *unit = is_share(m) ? "%" : "";
    put_number(p, "<td class=\"n\">", scale * q->value[s], unit);
    put_number(p, " <small>[", scale * q->interval[s].low, ", ");
    put_number(p, "", scale * q->interval[s].high, "]</small></td>");
}

static void put_metrics(struct page *p, const struct ft_report *r) {
    put(p, r->two ? "<table><tr><th>metric<th>base<th>tuned<th>difference<th>p<th></tr>" : "<table><tr><th>metric<th>value<th></tr>");
    for (size_t i = 0; i < r->metrics; i++) {
        const struct ft_metric *m = &r->metric[i];
        put(p, "<tr><td>");
        put_text(p, m->name);
        put(p, "</td>");
        put_value(p, m, 0);
        if (r->two) {
            put_value(p, m, 1);
            put_number(p, "<td class=\"n\">", m->paired.difference * (is_share(m) ? 100.0 : 1.0), is_share(m) ? " points</td>" : "</td>");
            put_number(p, "<td class=\"n\">", m->paired.p_value, "</td>");
        }
        put(p, "<td style=\"min-width:9rem\">");
        if (is_share(m)) {
            put_bar(p, "base", &m->paired, 0);
            if (r->two) put_bar(p, "tuned", &m->paired, 1);
        }
        put(p, "</td></tr>");
    }
    put(p, "</table>");
}

static void put_answer(struct page *p, const struct ft_score_row *row) {
    put(p, row->exact ? "<td class=\"ok\"><pre>" : "<td><pre>");
    put_text(p, row->answer ? row->answer : "");
    put(p, row->stopped ? "</pre></td>" : "</pre><span class=\"no\">did not stop</span></td>");
}

static void put_examples(struct page *p, const struct ft_report *r, const struct ft_score *score,
                         struct ft_score_row *const rows[2], size_t examples) {
    if (!rows[0][0].answer || examples == 0) return;
    put(p, r->two ? "<h2>The first records, side by side</h2><table><tr><th>prompt<th>reference<th>base<th>tuned</tr>"
                  : "<h2>The first records</h2><table><tr><th>prompt<th>reference<th>answer</tr>");
    for (size_t i = 0; i < r->records && i < examples && !p->status; i++) {
        struct ft_buffer prompt = {0}, reference = {0};
        p->status = ft_score_prompt(score, i, &prompt, p->error);
        if (!p->status) p->status = ft_score_reference(score, i, &reference, p->error);
        put(p, "<tr><td><pre>");
        put_text(p, prompt.data ? prompt.data : "");
        put(p, "</pre></td><td><pre>");
        put_text(p, reference.data ? reference.data : "");
        put(p, "</pre></td>");
        put_answer(p, &rows[0][i]);
        if (r->two) put_answer(p, &rows[1][i]);
        put(p, "</tr>");
        ft_buffer_release(&prompt);
        ft_buffer_release(&reference);
    }
    put(p, "</table>");
}

enum ft_status ft_report_html(const struct ft_report *r, const struct ft_score *score, struct ft_score_row *const rows[2],
                              size_t examples, struct ft_buffer *html, struct ft_error *error) {
    struct page p = {html, error, FT_OK};
    put(&p, head);
    put(&p, "<h1>Was fine-tuning worth it?</h1><p class=\"verdict\">");
    put_text(&p, r->verdict);
    put(&p, "</p>");
    if (!p.status)
        p.status = ft_buffer_printf(html, error,
                                    "<p>%zu held-out records, %llu supervised tokens. Intervals are 95 %%: Wilson's for shares, a paired "
                                    "bootstrap over records otherwise; p from a sign-flip permutation test with %zu resamples.",
                                    r->records, (unsigned long long)r->supervised, r->resamples);
    if (r->chance >= 0.0) put_number(&p, " Always giving the most frequent answer would be right in ", 100.0 * r->chance, " %.");
    put(&p, "</p>");
    put_metrics(&p, r);
    put_examples(&p, r, score, rows, examples);
    put(&p, "</html>\n");
    return p.status;
}
