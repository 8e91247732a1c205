#include "tools/warm_restart.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "cache/log.h"
#include "cache/mutex.h"
#include "tools/option_values.h"
#include "tools/pieces.h"
#include "tools/warm_list.h"

namespace sluice {
namespace {

class WarmRestartImpl final : public WarmRestart {
 public:
  WarmRestartImpl(Store* store, const WarmRestartOptions& options, std::vector<CachedContent> contents)
      : store_(*store), options_(options), thread_([this, contents = std::move(contents)]() mutable {
          restore(std::move(contents));
          while (!wait_for_stop()) save();
        }) {}

  ~WarmRestartImpl() override {
    {
      MutexLock lock(&mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
    save();
  }

  bool restored() const override { return restored_; }

 private:
  void restore(std::vector<CachedContent> contents) {
    sort_by_position(contents);
    uint64_t files = 0, bytes = 0;
    for (const CachedContent& content : contents) {
      if (stopping()) return;
      const uint64_t read = read_back(content, options_.room_bytes - bytes);
      files += read > 0;
      bytes += read;
    }
    restored_ = true;
    if (!contents.empty()) {
      log(LogLevel::info, "warm restart: {} of {} files are cached again, {}", files, contents.size(),
          format_size_rounded(bytes));
    }
  }

  // Files that changed since are left alone, and what cannot be read is for who asks for it. Of one that `room` is too
  // small for, its beginning.
  uint64_t read_back(const CachedContent& content, uint64_t room) {
    const auto opened = store_.open_content(content);
    if (!opened) return 0;
    Pieces pieces;
    for (const PageRange& range : content.pages) {
      const uint64_t length = std::min(range.count * kPageSize, room);
      const uint64_t end = range.first * kPageSize + length;
      room -= length;
      for (uint64_t at = range.first * kPageSize; at < end && !stopping(); at += Pieces::kBytes) {
        pieces.read((*opened)->data(), at, std::min(Pieces::kBytes, end - at));
      }
    }
    (void)pieces.wait();
    return pieces.bytes();
  }

  void sort_by_position(std::vector<CachedContent>& contents) {
    std::vector<std::pair<uint64_t, size_t>> positions;
    for (size_t i = 0; i < contents.size() && !stopping(); i++) {
      const auto opened = store_.open_content(contents[i]);
      if (opened) positions.emplace_back((*opened)->data().disk_position().value_or(contents[i].stamp.ino), i);
    }
    std::sort(positions.begin(), positions.end());
    std::vector<CachedContent> sorted;
    sorted.reserve(positions.size());
    for (const auto& [position, i] : positions) sorted.push_back(std::move(contents[i]));
    contents.swap(sorted);
  }

  void save() {
    if (!restored_) return;
    const Checked<> saved = save_warm_list(options_.path, store_.cached_content());
    if (!saved && saved.error().line != last_complaint_) log(LogLevel::warning, "{}", saved.error().line);
    last_complaint_ = saved ? "" : saved.error().line;
  }

  bool stopping() {
    MutexLock lock(&mutex_);
    return stop_;
  }
  bool wait_for_stop() {
    MutexLock lock(&mutex_);
    if (!stop_) changed_.wait_for(mutex_, options_.period);
    return stop_;
  }

  Store& store_;
  const WarmRestartOptions options_;
  std::string last_complaint_;  // of the thread, then of the destructor
  std::atomic<bool> restored_{false};
  Mutex mutex_;
  CondVar changed_;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

Checked<std::unique_ptr<WarmRestart>> WarmRestart::start(Store* store, const WarmRestartOptions& options) {
  std::vector<CachedContent> contents = TRY(load_warm_list(options.path));
  const std::string directory = options.path.substr(0, options.path.rfind('/') + 1);
  if (::access(directory.c_str(), W_OK) != 0) {
    return complain("--warm-restart: cannot write in '{}': {}", directory, error_text(errno));
  }
  return std::make_unique<WarmRestartImpl>(store, options, std::move(contents));
}

}  // namespace sluice
