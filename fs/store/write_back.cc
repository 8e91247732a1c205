#include "fs/store/write_back.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "cache/log.h"
#include "fs/store/backing_health.h"
#include "fs/store/file_data.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr size_t kFilesWorthSyncfs = 9;
constexpr std::chrono::nanoseconds kLongestSleep = 1s;
constexpr std::chrono::nanoseconds kLongestBackoff = 30s;

std::chrono::nanoseconds backoff(uint32_t failures) {
  return std::min<std::chrono::nanoseconds>(kLongestBackoff, 250ms * (1u << std::min(failures, 7u)));
}

}  // namespace

WriteBack::WriteBack(const WriteBackOptions& options, const Clock* clock, std::function<Result<void>()> sync_all)
    : options_(options),
      clock_(*clock),
      sync_all_(std::move(sync_all)),
      totals_(options.totals != nullptr ? *options.totals : own_totals_) {}

void WriteBack::start() {
  threads_.emplace_back([this] { run_writer(); });
  threads_.emplace_back([this] { run_syncer(); });
  threads_.emplace_back([this] { run_jobs(); });
}

void WriteBack::stop() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  writer_wakes_.notify_all();
  syncer_wakes_.notify_all();
  jobs_wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  refuse_waiters(EIO, Time::max());
  run_jobs();
}

// ---- the bound ----

void WriteBack::admit(uint64_t bytes, Callback<void(Result<void>)> go) {
  bytes = std::min(bytes, options_.dirty_max_bytes / 2);
  {
    MutexLock lock(&mutex_);
    if (stop_) {
      // Below, without the lock.
    } else if (waiters_.empty() && kept_bytes() + reserved_bytes_ + bytes <= options_.dirty_max_bytes / 2) {
      reserved_bytes_ += bytes;
    } else {
      if (waiters_.empty()) credit_bytes_ = 0;
      waiters_.push_back({bytes, clock_.monotonic(), std::move(go)});
      waits_.fetch_add(1);
      writer_wakes_.notify_one();
      syncer_wakes_.notify_one();
      return;
    }
    if (stop_) return go(fail(EIO));
  }
  go({});
}

void WriteBack::give_back(uint64_t bytes) {
  {
    MutexLock lock(&mutex_);
    reserved_bytes_ -= std::min(bytes, options_.dirty_max_bytes / 2);
  }
  let_waiters_go();
}

// In their order. Below half of the bound all go, above it those whose bytes were made good by bytes written.
std::vector<WriteBack::Waiter> WriteBack::take_ready() {
  std::vector<Waiter> ready;
  while (!waiters_.empty()) {
    Waiter& first = waiters_.front();
    const uint64_t after = kept_bytes() + reserved_bytes_ + first.bytes;
    const bool is_free = after <= options_.dirty_max_bytes / 2;
    if (!is_free && (after > options_.dirty_max_bytes || credit_bytes_ < first.bytes)) break;
    if (!is_free) credit_bytes_ -= first.bytes;
    reserved_bytes_ += first.bytes;
    ready.push_back(std::move(first));
    waiters_.pop_front();
  }
  return ready;
}

void WriteBack::let_waiters_go() {
  std::vector<Waiter> ready;
  {
    MutexLock lock(&mutex_);
    ready = take_ready();
  }
  // Not here: who brought the room may be in the middle of writing a file.
  for (Waiter& waiter : ready) post([go = std::move(waiter.go)]() mutable { go({}); });
}

void WriteBack::refuse_waiters(int error, Time since_before) {
  std::list<Waiter> refused;
  {
    MutexLock lock(&mutex_);
    while (!waiters_.empty() && waiters_.front().since < since_before)
      refused.splice(refused.end(), waiters_, waiters_.begin());
  }
  for (Waiter& waiter : refused) post([go = std::move(waiter.go), error]() mutable { go(fail(error)); });
}

void WriteBack::tick() {
  if (options_.patience.count() > 0) refuse_waiters(ETIMEDOUT, clock_.monotonic() - options_.patience);
  let_waiters_go();
}

void WriteBack::accepted(uint64_t pages) {
  written_pages_.fetch_add(pages);
  bool waits = false;
  {
    MutexLock lock(&mutex_);
    waits = !waiters_.empty();
    if (waits) credit_bytes_ += pages * kPageSize;
  }
  if (waits) let_waiters_go();
}

void WriteBack::let_go() {
  let_waiters_go();
}

// ---- files ----

void WriteBack::insert(DirtyFile file) {
  auto place = dirty_.end();
  while (place != dirty_.begin() && std::prev(place)->due > file.due) --place;
  const FileData* key = file.file.get();
  dirty_places_[key] = dirty_.insert(place, std::move(file));
  files_ = dirty_.size() + unsynced_.size();
}

void WriteBack::add_dirty(const std::shared_ptr<FileData>& file) {
  MutexLock lock(&mutex_);
  if (!dirty_places_.contains(file.get())) {
    insert({file, clock_.monotonic() + options_.expire});
    if (dirty_.size() == 1) writer_wakes_.notify_one();
  }
  if (is_pressed()) writer_wakes_.notify_one();
}

void WriteBack::add_unsynced(const std::shared_ptr<FileData>& file) {
  MutexLock lock(&mutex_);
  if (unsynced_.empty()) sync_due_ = std::max(sync_due_, clock_.monotonic() + options_.expire);
  unsynced_.try_emplace(file.get(), file);
  files_ = dirty_.size() + unsynced_.size();
  if (must_sync()) syncer_wakes_.notify_one();
}

void WriteBack::hurry(const FileData* file) {
  MutexLock lock(&mutex_);
  const auto place = dirty_places_.find(file);
  if (place == dirty_places_.end() || place->second->failures > 0) return;
  place->second->due = Time{};
  dirty_.splice(dirty_.begin(), dirty_, place->second);
  writer_wakes_.notify_one();
}

void WriteBack::forget(const FileData* file) {
  std::shared_ptr<FileData> dirty, unsynced;  // may end, outside the lock
  MutexLock lock(&mutex_);
  if (const auto place = dirty_places_.find(file); place != dirty_places_.end()) {
    dirty = std::move(place->second->file);
    dirty_.erase(place->second);
    dirty_places_.erase(place);
  }
  if (const auto place = unsynced_.find(file); place != unsynced_.end()) {
    unsynced = std::move(place->second);
    unsynced_.erase(place);
  }
  files_ = dirty_.size() + unsynced_.size();
}

bool WriteBack::is_pressed() const {
  return !waiters_.empty() || totals_.dirty.load() * kPageSize > options_.dirty_max_bytes / 4 ||
         dirty_.size() > options_.files_max / 2;
}

WriteBack::DirtyFiles::iterator WriteBack::find_due() {
  if (!dirty_.empty() && dirty_.front().due <= clock_.monotonic()) return dirty_.begin();
  return is_pressed() ? std::ranges::find(dirty_, 0u, &DirtyFile::failures) : dirty_.end();
}

std::optional<WriteBack::DirtyFile> WriteBack::take_due() {
  const auto found = find_due();
  if (found == dirty_.end()) return std::nullopt;
  DirtyFile taken = std::move(*found);
  dirty_places_.erase(taken.file.get());
  dirty_.erase(found);
  return taken;
}

bool WriteBack::write_once() {
  std::optional<DirtyFile> taken;
  {
    MutexLock lock(&mutex_);
    if (stop_) return false;
    taken = take_due();
  }
  if (!taken) return false;
  Result<void> outcome;
  {
    const BackingCall call(options_.health, BackingUser::fuse, BackingUse::change);
    outcome = taken->file->write_back();
  }
  after_writing(std::move(*taken), outcome);
  return true;
}

void WriteBack::after_writing(DirtyFile written, const Result<void>& outcome) {
  if (!outcome) return add_failed(written.file, written.failures + 1, outcome.error().number);
  MutexLock lock(&mutex_);
  if (dirty_places_.contains(written.file.get())) return;
  files_ = dirty_.size() + unsynced_.size();
  if (!written.file->dirty_since()) return;
  insert({std::move(written.file), clock_.monotonic() + options_.expire});
}

void WriteBack::add_failed(const std::shared_ptr<FileData>& file, uint32_t failures, int error) {
  bool all_fail = false;
  {
    MutexLock lock(&mutex_);
    if (const auto place = dirty_places_.find(file.get()); place != dirty_places_.end()) {
      dirty_.erase(place->second);
      dirty_places_.erase(place);
    }
    insert({file, clock_.monotonic() + backoff(failures), failures});
    all_fail = std::ranges::all_of(dirty_, [](const DirtyFile& one) { return one.failures > 0; });
  }
  errors_.fetch_add(1);
  if (all_fail) refuse_waiters(error, Time::max());
}

// ---- what was accepted becomes durable ----

bool WriteBack::must_sync() const {
  if (unsynced_.empty()) return false;
  const Time now = clock_.monotonic();
  if (now >= sync_due_) return true;
  if (now < sync_due_ - options_.expire) return false;  // it failed a moment ago
  return totals_.unsynced.load() * kPageSize >= options_.dirty_max_bytes / 8 ||
         unsynced_.size() > options_.files_max / 4 || (!waiters_.empty() && dirty_.empty());
}

bool WriteBack::sync_once() {
  Files files;
  {
    MutexLock lock(&mutex_);
    if (stop_ || !must_sync()) return false;
    for (auto& [key, file] : unsynced_) files.push_back(std::move(file));
    unsynced_.clear();
    files_ = dirty_.size() + unsynced_.size();
    sync_due_ = {};
  }
  {
    const BackingCall call(options_.health, BackingUser::fuse, BackingUse::change);
    sync_together(files);
  }
  let_waiters_go();
  return true;
}

void WriteBack::sync_together(const Files& files) {
  if (files.size() >= kFilesWorthSyncfs) {
    std::vector<uint64_t> counts;
    for (const auto& file : files) counts.push_back(file->written_count());
    if (sync_all_()) {
      for (size_t i = 0; i < files.size(); ++i) files[i]->synced(counts[i]);
      return;
    }
  }
  bool failed = false;
  for (const auto& file : files) {
    BackingHealth::begin_next_call();
    if (file->sync_written() || !file->is_dirty()) continue;
    add_unsynced(file);  // the backing hangs: nobody was asked
    failed = true;
  }
  if (!failed) return;
  MutexLock lock(&mutex_);
  sync_due_ = clock_.monotonic() + options_.expire * 2;
}

// ---- threads ----

void WriteBack::run_writer() {
  for (;;) {
    while (write_once()) {
    }
    MutexLock lock(&mutex_);
    if (stop_) return;
    if (find_due() != dirty_.end()) continue;
    const Time sleep = dirty_.empty() ? kLongestSleep : dirty_.front().due - clock_.monotonic();
    writer_wakes_.wait_for(mutex_, std::clamp<Time>(sleep, 1ms, kLongestSleep));
  }
}

void WriteBack::run_syncer() {
  for (;;) {
    while (sync_once()) {
    }
    MutexLock lock(&mutex_);
    if (stop_) return;
    if (!must_sync()) syncer_wakes_.wait_for(mutex_, kLongestSleep);
  }
}

void WriteBack::post(Callback<void()> job) {
  MutexLock lock(&mutex_);
  jobs_.push_back(std::move(job));
  jobs_wake_.notify_one();
}

void WriteBack::run_jobs() {
  for (;;) {
    std::list<Callback<void()>> jobs;
    {
      MutexLock lock(&mutex_);
      while (jobs_.empty() && !stop_) jobs_wake_.wait(mutex_);
      if (jobs_.empty()) return;
      jobs.swap(jobs_);
    }
    for (auto& job : jobs) job();
  }
}

WriteBack::Files WriteBack::files() const {
  Files files;
  MutexLock lock(&mutex_);
  for (const DirtyFile& file : dirty_) files.push_back(file.file);
  for (const auto& [key, file] : unsynced_) {
    if (!dirty_places_.contains(key)) files.push_back(file);
  }
  return files;
}

WriteBackStats WriteBack::stats() const {
  const Files all = files();
  const auto files = std::ranges::count_if(
      all, &FileData::is_dirty, [](const auto& file) -> auto& { return *file; });
  return {.max_bytes = options_.dirty_max_bytes,
          .dirty_bytes = totals_.dirty.load() * kPageSize,
          .unsynced_bytes = totals_.unsynced.load() * kPageSize,
          .files = static_cast<uint64_t>(files),
          .written_bytes = written_pages_.load() * kPageSize,
          .waits = waits_.load(),
          .errors = errors_.load(),
          .conflicts = conflicts_.load(),
          .dropped_bytes = dropped_bytes_.load()};
}

}  // namespace sluice
