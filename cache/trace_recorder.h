// TraceRecorder writes what the cache is asked for to a file (cache/trace_format.h), while it serves: for
// `sluice sim`, which tells from it what another policy or size would have done.
//
//   who asks      leaves a record in a buffer of its own thread (cache/trace_lanes.h) and goes on. No system call,
//                 but for waking the writer when a buffer is half full.
//   the writer    a thread that collects all buffers each second, or when it is woken, and writes one block per 8192
//                 records. A killed process loses at most what the last second brought.
//   memory        12 MiB at most, all of it only where every thread records faster than the writer writes.
//   errors        the first one ends the recording, with one warning: the cache serves on. What was written stays, with
//                 perhaps a torn end.
//
// The file stays empty until there is something to record.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "cache/result.h"
#include "cache/trace_lanes.h"
#include "cache/unique_fd.h"

namespace sluice {

struct TraceRecorderOptions {
  std::string path;
  uint32_t records_per_second_max = 100'000;  // 0: no limit
  const Clock* clock = &system_clock();
};

struct TraceRecorderStats {
  uint64_t records = 0;  // written
  uint64_t written_bytes = 0;
  TraceDrops dropped;
  int error = 0;  // not 0: the recording ended by this errno
};

// Thread-safe.
class TraceRecorder {
 public:
  // Makes the file, mode 0600, or takes an empty one that is ours. Errors: EEXIST (there is something in it, or it is
  // no file, or somebody else's), ELOOP (a symbolic link), those of open(2).
  static Result<std::unique_ptr<TraceRecorder>> open(const TraceRecorderOptions& options);

  TraceRecorder(const TraceRecorderOptions& options, UniqueFd fd);
  ~TraceRecorder();  // writes what is left
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;

  // Any number of pages. Never waits for the disk.
  void record(TraceOp op, uint64_t file, uint32_t generation, PageRange pages);
  // Returns when all that was recorded before is in the file.
  void flush();
  TraceRecorderStats stats() const;

 private:
  struct Packer;

  uint64_t ask_to_write();
  void run();
  void write_collected();
  void write_block(std::span<const TraceRecord> records, const TraceDrops& dropped);
  void write_packed(std::string_view bytes);

  const std::string path_;
  const UniqueFd fd_;
  TraceLanes lanes_;
  std::atomic<uint64_t> records_{0}, written_bytes_{0};
  std::atomic<int> error_{0};

  // The writer's.
  const std::unique_ptr<Packer> packer_;
  std::vector<TraceRecord> collected_;
  TraceDrops dropped_in_file_;

  Mutex mutex_;  // leaf
  CondVar asked_to_write_, written_;
  uint64_t asked_ GUARDED_BY(mutex_) = 0;  // how often
  uint64_t answered_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread writer_;
};

}  // namespace sluice
