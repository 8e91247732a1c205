// WriteBack brings what delayed writes left in the cache to the backing. It is shared by all files of a store:
//
//   a bound   on what is dirty or not yet fsynced, over all files. Up to half of it writers go on at once. Above, a
//             write waits until as many bytes as it brings were accepted by the backing: writers go on at the pace of
//             the disk, in the order in which they came, and what is kept does not pass the bound.
//   a writer  a thread that writes the file that has been dirty longest: when that is longer than `expire`, or when
//             more than a quarter of the bound is dirty.
//   a syncer  a thread that makes durable what the backing accepted, and then lets go of it: after `expire`, or when
//             an eighth of the bound waits for that. Few files get an fsync each, many a syncfs(2) together.
//
// A file that cannot be written stays dirty and is tried again, at growing intervals. When no file can be written,
// writers that wait hear why. Thread-safe. No lock is held while a file is written or a callback runs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cache/callback.h"
#include "cache/clock.h"
#include "cache/dirty_pages.h"
#include "cache/mutex.h"
#include "cache/result.h"

namespace sluice {

class BackingHealth;
class FileData;

struct WriteBackOptions {
  uint64_t dirty_max_bytes = 0;
  std::chrono::nanoseconds expire = std::chrono::seconds(5);
  uint32_t files_max = 1024;            // dirty or unsynced: each keeps descriptors
  std::chrono::nanoseconds patience{};  // how long a write waits for room; 0: for ever
  DirtyTotals* totals = nullptr;        // where to count; outlives it. None: in itself
  BackingHealth* health = nullptr;      // is told what waits for the backing. May be null
};

struct WriteBackStats {
  uint64_t max_bytes = 0;
  uint64_t dirty_bytes = 0;     // the backing does not have them
  uint64_t unsynced_bytes = 0;  // it has accepted them
  uint64_t files = 0;           // with such bytes
  uint64_t written_bytes = 0;   // ever accepted by the backing
  uint64_t waits = 0;           // writes that waited for room
  uint64_t errors = 0;          // times that a file could not be written
  uint64_t conflicts = 0;       // files that somebody else changed while they were dirty
  uint64_t dropped_bytes = 0;   // by the administrator
};

class WriteBack {
 public:
  // `sync_all`: syncfs(2); after an error each file gets an fsync.
  WriteBack(const WriteBackOptions& options, const Clock* clock, std::function<Result<void>()> sync_all);
  ~WriteBack() { stop(); }
  void start();
  // The threads end; files stay as they are. Writes that wait are refused (EIO).
  void stop();

  // A write of so many bytes wants to be delayed. `go` runs when there is room, inside the call or later on another
  // thread; with an error when there will be none (what the backing says, ETIMEDOUT). The bytes are reserved until
  // `give_back`.
  void admit(uint64_t bytes, Callback<void(Result<void>)> go);
  void give_back(uint64_t bytes);
  bool has_room_for_file() const { return files_.load(std::memory_order_relaxed) < options_.files_max; }

  // The file has pages that are dirty, or unsynced: it is seen to, for as long as it has.
  void add_dirty(const std::shared_ptr<FileData>& file);
  void add_unsynced(const std::shared_ptr<FileData>& file);
  // It cannot be written, or not be made durable, so many times in a row: it is tried again after a while.
  void add_failed(const std::shared_ptr<FileData>& file, uint32_t failures, int error);
  void accepted(uint64_t pages);      // by the backing
  void let_go();                      // of some pages
  void hurry(const FileData* file);   // to write it
  void forget(const FileData* file);  // it has nothing any more

  void note_conflict() { conflicts_.fetch_add(1); }
  void note_drop(uint64_t bytes) { dropped_bytes_.fetch_add(bytes); }

  // Runs soon, on a thread that no write of the backing waits for.
  void post(Callback<void()> job);
  // Refuses writes that have waited for too long. Now and then.
  void tick();

  // What the writer, and the syncer, would do now. False: nothing is to be done. For tests, without threads.
  bool write_once();
  bool sync_once();

  std::vector<std::shared_ptr<FileData>> files() const;  // with dirty or unsynced pages, and some that had
  DirtyTotals& totals() { return totals_; }
  WriteBackStats stats() const;

 private:
  using Time = std::chrono::nanoseconds;
  struct Waiter {
    uint64_t bytes;
    Time since;
    Callback<void(Result<void>)> go;
  };
  struct DirtyFile {
    std::shared_ptr<FileData> file;
    Time due;
    uint32_t failures = 0;
  };
  using DirtyFiles = std::list<DirtyFile>;  // in the order in which they are due
  using Files = std::vector<std::shared_ptr<FileData>>;

  uint64_t kept_bytes() const { return totals_.kept() * kPageSize; }
  bool is_pressed() const REQUIRES(mutex_);
  DirtyFiles::iterator find_due() REQUIRES(mutex_);  // what is to be written now; its end: nothing
  std::vector<Waiter> take_ready() REQUIRES(mutex_);
  void let_waiters_go();
  void refuse_waiters(int error, Time since_before);
  void insert(DirtyFile file) REQUIRES(mutex_);
  std::optional<DirtyFile> take_due() REQUIRES(mutex_);
  void after_writing(DirtyFile written, const Result<void>& outcome);
  bool must_sync() const REQUIRES(mutex_);
  void sync_together(const Files& files);
  void run_writer();
  void run_syncer();
  void run_jobs();

  const WriteBackOptions options_;
  const Clock& clock_;
  const std::function<Result<void>()> sync_all_;
  DirtyTotals own_totals_;
  DirtyTotals& totals_;

  std::atomic<uint64_t> files_{0};  // upper bound
  std::atomic<uint64_t> written_pages_{0}, waits_{0}, errors_{0}, conflicts_{0}, dropped_bytes_{0};

  mutable Mutex mutex_;
  CondVar writer_wakes_, syncer_wakes_, jobs_wake_;
  uint64_t reserved_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t credit_bytes_ GUARDED_BY(mutex_) = 0;  // accepted by the backing since somebody waits
  std::list<Waiter> waiters_ GUARDED_BY(mutex_);
  DirtyFiles dirty_ GUARDED_BY(mutex_);
  std::unordered_map<const FileData*, DirtyFiles::iterator> dirty_places_ GUARDED_BY(mutex_);
  std::unordered_map<const FileData*, std::shared_ptr<FileData>> unsynced_ GUARDED_BY(mutex_);
  Time sync_due_ GUARDED_BY(mutex_){};
  std::list<Callback<void()>> jobs_ GUARDED_BY(mutex_);
  bool stop_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace sluice
