// RingThread is a thread with an io_uring, on a processor of its own. The kernel has a queue of requests per processor:
// the thread serves that of its processor, and those of processors that have no thread. A request is answered on the
// processor that asked for it, without waking another one, and one system call takes the reply and waits for the next
// request.
//
// What it serves must never block. The kernel hands a request to the thread that offered the entry, and to no other
// one: what is in the queue of a thread that hangs would hang as well.
//
//   request -> serve -> complete()          on this thread: the reply goes with the next system call
//                    \-> another thread -> complete(): handed over to this thread, which is woken
//
// An entry is taken until its request is answered, and the kernel has requests wait that find none free. It looks at
// those only when another reply comes, not when there are new entries. So there are always some free, and more are made
// when few are left.
//
// Memory: an entry has a payload of up to 1 MiB, of which there is memory when it was used. The thread gives back what
// is more than touched_max bytes, and all but little when nothing comes any more.
#pragma once

#include <liburing.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "cache/callback.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "fs/fuse/ring_entry.h"

namespace sluice {

struct RingThreadOptions {
  int device = -1;               // of the session
  uint32_t number = 0;           // of the thread, below kThreadsMax
  int processor = -1;            // where it runs; -1: anywhere
  std::vector<uint16_t> queues;  // the first one is that of its processor
  size_t payload_max_bytes = 0;
  size_t touched_max_bytes = 0;
};

class RingThread {
 public:
  static constexpr uint32_t kThreadsMax = 1 << 12;
  static constexpr uint32_t kEntriesMax = 1 << 12;     // of a thread
  static constexpr uint32_t kQueueEntriesMax = 1024;   // of a queue
  static constexpr uint32_t kEntriesAtOnce = 64;       // of the processor's own queue at first, and more
  static constexpr uint32_t kOtherEntriesAtFirst = 4;  // of another queue

  // `serve` runs on this thread with each request; it owes a complete().
  RingThread(RingThreadOptions options, Callback<void(RingEntry*)> serve)
      : options_(std::move(options)), serve_(std::move(serve)) {}
  ~RingThread() { end(); }
  RingThread(const RingThread&) = delete;
  RingThread& operator=(const RingThread&) = delete;

  // Starts the thread and opens its ring. Errors: ENOSYS, EPERM, EINVAL where io_uring is refused or too old; ENOMEM,
  // EAGAIN.
  Result<void> open();
  // Offers entries to the kernel, after INIT was answered. Does not wait.
  void start();
  uint32_t number() const { return options_.number; }
  // The request was answered by entry->reply(). Any thread.
  void complete(RingEntry* entry);
  // From when it returns, no request is served any more; those that are being served may be completed.
  void drain();
  // Submits what was completed, and ends. The connection goes with the last one.
  void end();
  // end() without waiting for it.
  void begin_end();

  // One thread, now and then. Gives memory back if nothing came since the last call.
  void tick();

  // What `ours` numbers of this thread stand for. Any thread, for requests not yet answered.
  static bool is_number(uint64_t number) { return (number & kNumberBit) != 0; }
  static uint32_t thread_of(uint64_t number) { return static_cast<uint32_t>(number >> 12) & (kThreadsMax - 1); }
  RingEntry* entry_of(uint64_t number) const { return entry_at(static_cast<uint32_t>(number) & (kEntriesMax - 1)); }
  // What holds the request that the kernel knows by this number. Any thread.
  RingEntry* find(uint64_t kernels) const;

  // The kernel took the entries of all queues.
  bool is_registered() const { return registered_.load(std::memory_order_acquire); }
  bool has_failed() const { return failed_.load(std::memory_order_relaxed); }
  uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }
  uint64_t touched_bytes() const { return touched_shown_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kNumberBit = uint64_t{1} << 63;
  static constexpr uint64_t kSerialMask = (uint64_t{1} << 39) - 1;
  static constexpr uint32_t kBlocksMax = kEntriesMax / kEntriesAtOnce;
  enum class Phase : uint32_t { opened, serving, draining, ended };

  struct Block;  // kEntriesAtOnce entries and their memory
  struct Queue {
    uint16_t number = 0;
    uint32_t free_min = 0;
    uint32_t entries = 0;
    uint32_t ours = 0;
  };

  void run();
  int open_ring();
  bool take_phase();
  void register_queues();
  void add_entries(Queue& queue, uint32_t count);  // as many as there is memory for
  bool has_memory_at_first();
  bool has_block(size_t number);
  RingEntry* entry_at(uint32_t index) const;
  void commit_handed_over();
  void prepare_command(RingEntry* entry, uint32_t command);
  void prepare_wake_up();
  void wait();
  void take_completions();
  void take(RingEntry* entry, int result);
  void commit(RingEntry* entry);
  void trim(size_t keep_bytes);
  io_uring_sqe* next_submission();
  void enter(unsigned completions_min);
  Queue& queue_of(const RingEntry& entry);
  uint64_t next_number(const RingEntry& entry);

  const RingThreadOptions options_;
  Callback<void(RingEntry*)> serve_;
  std::thread thread_;

  // Of the thread.
  io_uring ring_{};
  std::vector<Queue> queues_;
  uint64_t serial_ = 0;
  size_t touched_ = 0;      // by all entries that are the kernel's
  size_t uncommitted_ = 0;  // bytes of replies that wait for the next system call
  uint64_t wakes_ = 0;      // target of the read of wake_fd_
  bool wake_prepared_ = false;
  Phase seen_ = Phase::opened;

  UniqueFd wake_fd_;             // an eventfd
  std::atomic<int> opened_{-1};  // errno of opening the ring
  std::atomic<Phase> phase_{Phase::opened};
  std::atomic<Phase> reached_{Phase::opened};
  std::atomic<bool> sleeping_{false};  // will not look at handed_over_ before it is woken
  std::atomic<bool> should_trim_{false};
  std::atomic<RingEntry*> handed_over_{nullptr};  // a list by RingEntry::next
  std::array<std::atomic<Block*>, kBlocksMax> blocks_{};
  std::atomic<uint32_t> entries_{0};
  std::atomic<bool> registered_{false};
  std::atomic<bool> failed_{false};
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> touched_shown_{0};
  uint64_t requests_seen_ = 0;  // of the ticking thread
};

}  // namespace sluice
