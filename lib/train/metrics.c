/* SPDX-License-Identifier: MIT */
#include "ft/metrics.h"

#include "ft/file.h"
#include "ft/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

enum ft_status ft_metrics_check(const char *path, uint64_t size, const char *sha256, struct ft_error *error) {
    struct ft_map map;
    char hex[FT_SHA256_HEX] = "";
    enum ft_status status = ft_map_open(&map, path, error);
    if (status) return status;
    if (map.size >= size) ft_sha256_hex(map.data, (size_t)size, hex);
    ft_map_close(&map);
    if (strcmp(hex, sha256) != 0)
        return ft_fail(error, FT_FORMAT, "%s: not as the checkpoint knows it (its first %" PRIu64
                       " bytes were altered); restore it, or start anew with --force", path, size);
    return FT_OK;
}

static enum ft_status open_file(struct ft_metrics *m, const char *path, uint64_t size, struct ft_error *error) {
    m->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (m->file < 0) return ft_fail_errno(error, FT_IO, "%s: cannot be written", path);
    if (ftruncate(m->file, (off_t)size) != 0 || lseek(m->file, 0, SEEK_END) < 0)
        return ft_fail_errno(error, FT_IO, "%s: cannot be cut to %" PRIu64 " bytes", path, size);
    return FT_OK;
}

enum ft_status ft_metrics_open(struct ft_metrics *metrics, const char *path, uint64_t size, struct ft_error *error) {
    *metrics = (struct ft_metrics){.line = {.max = LINE_MAX_BYTES}};
    struct ft_map map = {0};
    enum ft_status status = ft_buffer_string(&metrics->path, path, error);
    if (!status) status = open_file(metrics, path, size, error);
    ft_sha256_init(&metrics->hash);
    if (!status && size) {
        status = ft_map_open(&map, path, error);
        if (!status && map.size < size) status = ft_fail(error, FT_FORMAT, "%s: shorter than its checkpoint", path);
        if (!status) ft_sha256_update(&metrics->hash, map.data, (size_t)size);
        ft_map_close(&map);
    }
    metrics->size = size;
    if (status) ft_metrics_close(metrics);
    return status;
}

void ft_metrics_close(struct ft_metrics *metrics) {
    if (metrics->path.data && metrics->file >= 0) close(metrics->file);
    ft_buffer_release(&metrics->path);
    ft_buffer_release(&metrics->line);
    metrics->file = -1;
}

static enum ft_status append_line(struct ft_metrics *m, struct ft_error *error) {
    for (size_t at = 0; at < m->line.size;) {
        ssize_t n = write(m->file, m->line.data + at, m->line.size - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return ft_fail_errno(error, FT_IO, "%s: cannot be written", m->path.data);
        at += (size_t)n;
    }
    ft_sha256_update(&m->hash, m->line.data, m->line.size);
    m->size += m->line.size;
    return FT_OK;
}

enum ft_status ft_metrics_step(struct ft_metrics *metrics, const struct ft_step *step, struct ft_error *error) {
    char epoch[FT_NUMBER_TEXT], loss[FT_NUMBER_TEXT], lr[FT_NUMBER_TEXT], norm[FT_NUMBER_TEXT];
    ft_format_double(epoch, step->epoch);
    ft_format_double(loss, step->loss);
    ft_format_double(lr, step->lr);
    ft_format_double(norm, step->grad_norm);
    ft_buffer_clear(&metrics->line);
    enum ft_status status = ft_buffer_printf(
        &metrics->line, error,
        "{\"step\": %" PRIu64 ", \"epoch\": %s, \"loss\": %s, \"learning_rate\": %s, \"grad_norm\": %s, "
        "\"num_input_tokens_seen\": %" PRIu64 ", \"num_supervised_tokens_seen\": %" PRIu64 "}\n",
        step->step, epoch, loss, lr, norm, step->tokens, step->supervised);
    return status ? status : append_line(metrics, error);
}

enum ft_status ft_metrics_evaluation(struct ft_metrics *metrics, uint64_t step, double epoch,
                                     const struct ft_loss_sum *sum, struct ft_error *error) {
    char at[FT_NUMBER_TEXT], loss[FT_NUMBER_TEXT], right[FT_NUMBER_TEXT], top[FT_NUMBER_TEXT], bottom[FT_NUMBER_TEXT];
    ft_format_double(at, epoch);
    ft_format_double(loss, sum->loss / sum->weight);
    ft_format_double(right, (double)sum->correct / (double)sum->tokens);
    ft_format_double(top, sum->loss);
    ft_format_double(bottom, sum->weight);
    ft_buffer_clear(&metrics->line);
    enum ft_status status = ft_buffer_printf(
        &metrics->line, error,
        "{\"step\": %" PRIu64 ", \"epoch\": %s, \"eval_loss\": %s, \"eval_accuracy\": %s, \"eval_tokens\": %" PRIu64
        ", \"eval_loss_sum\": %s, \"eval_weight_sum\": %s}\n",
        step, at, loss, right, sum->tokens, top, bottom);
    return status ? status : append_line(metrics, error);
}

enum ft_status ft_metrics_sync(struct ft_metrics *metrics, uint64_t *size, char sha256[FT_SHA256_HEX],
                               struct ft_error *error) {
    if (fsync(metrics->file) != 0) return ft_fail_errno(error, FT_IO, "%s: cannot be synced", metrics->path.data);
    struct ft_sha256 so_far = metrics->hash;
    unsigned char digest[FT_SHA256_SIZE];
    ft_sha256_final(&so_far, digest);
    ft_hex(digest, sizeof digest, sha256);
    *size = metrics->size;
    return FT_OK;
}
