#include "tools/cache_request.h"

#include <chrono>
#include <future>
#include <thread>

#include "tools/cache_work.h"
#include "tools/option_values.h"

namespace sluice {
namespace {

// How long the answer to "resize" waits for memory that readers and clients hold.
constexpr int kResizeLooks = 30;
constexpr std::chrono::milliseconds kResizeLookPeriod{100};
constexpr std::chrono::seconds kSignOfLifePeriod{1};

std::string files(uint64_t count) {
  return count == 1 ? "1 file" : fmt::format("{} files", count);
}

std::string summary(CacheVerb verb, const CacheProgress& progress) {
  std::string text =
      fmt::format("{}: {}, {} bytes", cache_verb_name(verb),
                  files(progress.files - progress.files_failed - progress.files_unchanged), progress.bytes);
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

void answer_drop(Store& store, BlockCache& cache, const ControlReply& reply) {
  store.drop_metadata();
  const uint64_t before = cache.stats().resident_bytes;
  cache.clear();
  const uint64_t after = cache.stats().resident_bytes;
  reply(fmt::format("done drop: {} bytes, {} bytes stay that are pinned or in use", before - std::min(before, after),
                    after));
}

void answer_drop_dirty(Store& store, const ControlReply& reply) {
  reply(fmt::format("done drop: {} delayed bytes that could not be written", store.drop_dirty()));
}

void answer_resize(CacheResize& resize, const std::string& size, const ControlReply& reply) {
  const Checked<uint64_t> bytes = parse_size(size);
  if (!bytes) {
    reply(printable("error: " + bytes.error().line));
    return;
  }
  // On a thread of its own, as who asked must hear something meanwhile; others may be resizing before us.
  auto resizing = std::async(std::launch::async, [&] { return resize.set_size(*bytes); });
  while (resizing.wait_for(kSignOfLifePeriod) != std::future_status::ready) reply("progress 0 0 0 0");
  if (const Checked<> resized = resizing.get(); !resized) {
    reply(printable("error: " + resized.error().line));
    return;
  }
  const uint64_t all = resize.unfinished();
  for (int look = 0; look < kResizeLooks && resize.unfinished() > 0; look++) {
    if (!reply(fmt::format("progress 0 0 {} {}", all - std::min(all, resize.unfinished()), all))) return;
    std::this_thread::sleep_for(kResizeLookPeriod);
  }
  std::string text = fmt::format("resize: the cache has {}", format_size(*bytes));
  if (const uint64_t unfinished = resize.unfinished(); unfinished > 0) {
    text += fmt::format("; {} more go back to the system when clients have taken what they are being sent",
                        format_size_rounded(unfinished));
  }
  reply("done " + text);
}

}  // namespace

void answer_cache_request(const CacheRequestSubjects& subjects, const std::vector<std::string>& words,
                          const ControlReply& reply) {
  const std::string verb = words.empty() ? "" : words[0];
  const std::optional<CacheVerb> file_verb = find_cache_verb(verb);
  if (file_verb && words.size() == 2) {
    answer_work(subjects.store, subjects.cache, *file_verb, words[1], reply);
  } else if (verb == "drop" && words.size() == 1) {
    answer_drop(subjects.store, subjects.cache, reply);
  } else if (verb == "drop-dirty" && words.size() == 1) {
    answer_drop_dirty(subjects.store, reply);
  } else if (verb == "resize" && words.size() == 2) {
    answer_resize(subjects.resize, words[1], reply);
  } else {
    reply("error: the requests are: warm, pin, unpin or evict with a path, drop, drop-dirty, resize with a size");
  }
}

}  // namespace sluice
