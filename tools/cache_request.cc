#include "tools/cache_request.h"

#include "tools/cache_work.h"
#include "tools/option_values.h"

namespace sluice {
namespace {

std::string files(uint64_t count) {
  return count == 1 ? "1 file" : fmt::format("{} files", count);
}

std::string summary(CacheVerb verb, const CacheProgress& progress) {
  std::string text = fmt::format("{}: {}, {} bytes", cache_verb_name(verb),
                                 files(progress.files - progress.files_failed), progress.bytes);
  if (progress.files_left_out > 0) {
    text += fmt::format("; {} of {} bytes left out, the cache has no room for them", files(progress.files_left_out),
                        progress.bytes_left_out);
  }
  if (progress.files_failed > 0) {
    text += fmt::format("; {} failed, the first: {}", files(progress.files_failed), progress.first_failure);
  }
  return text;
}

void answer_work(Store& store, BlockCache& cache, CacheVerb verb, const std::string& path, const ControlReply& reply) {
  const CacheStats stats = cache.stats();
  const CacheWork work{.verb = verb,
                       .path = path,
                       .room = stats.arena.frames_max * kPageSize - stats.pinned_bytes,
                       .pin_limit = stats.pinned_max_bytes};
  const auto done = do_cache_work(store, work, [&](const CacheProgress& progress) {
    return reply(
        fmt::format("progress {} {} {} {}", progress.files, progress.files_max, progress.bytes, progress.bytes_max));
  });
  if (!done) {
    reply(printable("error: " + done.error().line));
  } else {
    reply(printable((done->files_failed > 0 ? "error: " : "done ") + summary(verb, *done)));
  }
}

}  // namespace

void answer_cache_request(Store& store, BlockCache& cache, const std::vector<std::string>& words,
                          const ControlReply& reply) {
  const std::string verb = words.empty() ? "" : words[0];
  const std::optional<CacheVerb> file_verb = find_cache_verb(verb);
  if (file_verb && words.size() == 2) {
    answer_work(store, cache, *file_verb, words[1], reply);
  } else if (verb == "drop" && words.size() == 1) {
    const uint64_t before = cache.stats().resident_bytes;
    cache.clear();
    const uint64_t after = cache.stats().resident_bytes;
    reply(fmt::format("done drop: {} bytes, {} bytes stay that are pinned or in use", before - std::min(before, after),
                      after));
  } else {
    reply("error: the requests are: warm, pin, unpin or evict with a path, drop");
  }
}

}  // namespace sluice
