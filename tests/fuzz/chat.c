/* SPDX-License-Identifier: MIT
 * A chat template, then (behind 0xff) the JSON of what it is given, {"messages", "tools", "variables"}: a failure is named, a
 * text is the same each time, and what the model says of it are spans in order. */
#include "fuzz.h"

#include "ft/chat.h"

enum { MESSAGES_MAX = 8 };

static const struct ft_tokenizer *tokenizer(void) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", NULL};
    static const char json[] = "{\"added_tokens\":[{\"id\":2,\"content\":\"<s>\",\"special\":true},"
                               "{\"id\":3,\"content\":\"</s>\",\"special\":true}],"
                               "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"<s>\":2,\"</s>\":3},\"merges\":[]}}";
    static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";
    static struct ft_tokenizer *loaded;
    struct ft_error error = {0};
    const char *directory = fuzz_directory(names);
    if (loaded) return loaded;
    fuzz_write(names[0], json, sizeof json - 1);
    fuzz_write(names[1], config, sizeof config - 1);
    MUST(!ft_tokenizer_load(&loaded, directory, &error));
    return loaded;
}

struct given {
    struct ft_json json;
    struct ft_chat_message message[MESSAGES_MAX];
    size_t messages, wanted;
    const struct cJSON *tools, *variables;
};

static const struct cJSON *member(const struct given *g, const char *key, enum ft_json_type type) {
    const struct cJSON *node = ft_json_find(g->json.root, key);
    return node && ft_json_type(node) == type ? node : NULL;
}

/* Messages as a record gives them, a role and a content; the rest of each is the template's affair. */
static void read_messages(struct given *g) {
    const struct cJSON *list = member(g, "messages", FT_JSON_ARRAY);
    for (const struct cJSON *node = list ? ft_json_first(list) : NULL; node && g->messages < MESSAGES_MAX; node = ft_json_next(node)) {
        struct ft_chat_message m = {.role = "user", .content = "", .node = node};
        if (ft_json_type(node) != FT_JSON_OBJECT) continue;
        const struct cJSON *role = ft_json_find(node, "role"), *content = ft_json_find(node, "content");
        if (role) (void)ft_json_string(&g->json, role, &m.role, NULL);
        if (content) (void)ft_json_string(&g->json, content, &m.content, NULL);
        m.wanted = strcmp(m.role, "assistant") == 0;
        g->wanted += m.wanted;
        g->message[g->messages++] = m;
    }
}

static bool read_given(struct given *g, struct fuzz_part part) {
    static const char none[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}";
    if (!part.size) part = (struct fuzz_part){(const uint8_t *)none, sizeof none - 1};
    if (ft_json_parse(&g->json, (const char *)part.data, part.size, "given", 0, NULL)) return false;
    if (ft_json_type(g->json.root) != FT_JSON_OBJECT) return true;
    g->tools = member(g, "tools", FT_JSON_ARRAY);
    g->variables = member(g, "variables", FT_JSON_OBJECT);
    read_messages(g);
    return true;
}

static void render_twice(const struct ft_chat *chat, const struct given *g, bool prompt) {
    struct ft_error error = {0};
    struct ft_buffer first = {0}, second = {0};
    enum ft_status status = ft_chat_render(chat, g->message, g->messages, g->tools, g->variables, prompt, &first, &error);
    MUST(ft_chat_render(chat, g->message, g->messages, g->tools, g->variables, prompt, &second, &error) == status);
    MUST(!status || error.message[0]);
    MUST(first.size == second.size && (!first.size || memcmp(first.data, second.data, first.size) == 0));
    ft_buffer_release(&first);
    ft_buffer_release(&second);
}

static void find_spans(const struct ft_chat *chat, const struct given *g) {
    struct ft_error error = {0};
    struct ft_buffer text = {0};
    struct ft_chat_span span[MESSAGES_MAX];
    if (ft_chat_spans(chat, g->message, g->messages, g->tools, &text, span, &error)) {
        MUST(error.message[0]);
    } else {
        for (size_t i = 0; i < g->wanted; i++) {
            MUST(span[i].start <= span[i].end && span[i].end <= text.size);
            MUST(i == 0 || (span[i - 1].end <= span[i].start && span[i - 1].message < span[i].message));
        }
    }
    ft_buffer_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_chat *chat;
    struct given g = {0};
    struct fuzz_part rest = {data, size}, source = fuzz_take(&rest);
    char *template = malloc(source.size + 1);
    MUST(template);
    if (source.size) memcpy(template, source.data, source.size);
    template[source.size] = '\0';
    if (ft_chat_new(&chat, tokenizer(), template, "2026-11-22", &error)) {
        MUST(error.message[0]);
    } else {
        if (read_given(&g, rest)) {
            render_twice(chat, &g, true);
            find_spans(chat, &g);
        }
        ft_json_release(&g.json);
        ft_chat_free(chat);
    }
    free(template);
    return 0;
}
