#include "fs/fuse/ring_thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "cache/assert.h"
#include "cache/log.h"
#include "cache/ring_calls.h"
#include "fs/fuse/ring_workers.h"

namespace sluice {
namespace {

constexpr unsigned kSubmissions = 256;
constexpr unsigned kCompletions = 4096;
// A long reply does not wait for others, but goes while it is in the processor's cache.
constexpr size_t kUncommittedMax = 64 << 10;
// What a queue that rests keeps.
constexpr size_t kKeptBytes = 256 << 10;

thread_local RingThread* this_thread = nullptr;

// What one thread did before a reply comes before what another does with a later request: a program was told in
// between, by the kernel, which the sanitizer does not see.
#ifdef __SANITIZE_THREAD__
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
char kernel_order;
void note_reply() {
  __tsan_release(&kernel_order);
}
void note_request() {
  __tsan_acquire(&kernel_order);
}
#else
void note_reply() {}
void note_request() {}
#endif

}  // namespace

struct RingThread::Block {
  std::array<RingEntry, kEntriesAtOnce> entries;
  char* memory = nullptr;
  size_t size = 0;

  explicit Block(size_t payload_max) : size((RingEntry::kHeadSize + payload_max) * kEntriesAtOnce) {
    void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return;
    memory = static_cast<char*>(mapped);
    ::madvise(memory, size, MADV_NOHUGEPAGE);  // a payload of 4 KiB shall not cost 2 MiB
  }
  ~Block() {
    if (memory != nullptr) ::munmap(memory, size);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
};

// ---- any thread ----

Result<void> RingThread::open() {
  wake_fd_.reset(::eventfd(0, EFD_CLOEXEC));
  if (!wake_fd_) return fail(errno);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    return fail(EAGAIN);
  }
  opened_.wait(-1);
  if (const int error = opened_.load(); error != 0) return fail(error);
  return {};
}

void RingThread::start() {
  phase_.store(Phase::serving);
  ::eventfd_write(wake_fd_.get(), 1);
}

void RingThread::complete(RingEntry* entry) {
  if (this_thread == this) return commit(entry);
  RingEntry* first = handed_over_.load(std::memory_order_relaxed);
  do {
    entry->next = first;
  } while (!handed_over_.compare_exchange_weak(first, entry));
  if (sleeping_.load() && sleeping_.exchange(false)) ::eventfd_write(wake_fd_.get(), 1);
}

void RingThread::drain() {
  if (!thread_.joinable() || opened_.load() != 0) return;
  Phase before = phase_.load();
  while (before < Phase::draining && !phase_.compare_exchange_weak(before, Phase::draining)) continue;
  ::eventfd_write(wake_fd_.get(), 1);
  for (Phase reached = reached_.load(); reached < Phase::draining; reached = reached_.load()) reached_.wait(reached);
}

void RingThread::begin_end() {
  phase_.store(Phase::ended);
  ::eventfd_write(wake_fd_.get(), 1);
}

void RingThread::end() {
  if (thread_.joinable()) {
    begin_end();
    thread_.join();
  }
  for (auto& block : blocks_) delete block.exchange(nullptr);
}

void RingThread::tick() {
  const uint64_t requests = requests_.load(std::memory_order_relaxed);
  if (std::exchange(requests_seen_, requests) != requests) return;
  if (touched_shown_.load(std::memory_order_relaxed) <= kKeptBytes) return;
  should_trim_.store(true);
  ::eventfd_write(wake_fd_.get(), 1);
}

RingEntry* RingThread::entry_at(uint32_t index) const {
  Block* block = blocks_[index / kEntriesAtOnce].load(std::memory_order_acquire);
  return block == nullptr ? nullptr : &block->entries[index % kEntriesAtOnce];
}

RingEntry* RingThread::find(uint64_t kernels) const {
  const uint32_t count = entries_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i) {
    RingEntry* entry = entry_at(i);
    if (entry->number_of(kernels) != 0) return entry;
  }
  return nullptr;
}

// ---- the thread ----

void RingThread::run() {
  ::pthread_setname_np(::pthread_self(), "sluice-fusering");
  this_thread = this;
  run_on_processor(options_.processor);
  int error = has_memory_at_first() ? 0 : ENOMEM;
  if (error == 0) error = open_ring();
  opened_.store(error);
  opened_.notify_all();
  if (error != 0) return;
  // The wake-up of the end is waited for, so that no read into wakes_ outlives it.
  while (take_phase() || wake_prepared_) {
    commit_handed_over();
    prepare_wake_up();
    wait();
    take_completions();
  }
  commit_handed_over();
  enter(0);
  io_uring_queue_exit(&ring_);
}

// So that nothing is missing once INIT was answered: the kernel then waits for entries.
bool RingThread::has_memory_at_first() {
  const size_t entries = kEntriesAtOnce + kOtherEntriesAtFirst * (options_.queues.size() - 1);
  if (entries > kEntriesMax) return false;
  for (size_t i = 0; i * kEntriesAtOnce < entries; ++i) {
    if (!has_block(i)) return false;
  }
  return true;
}

bool RingThread::has_block(size_t number) {
  if (blocks_[number].load(std::memory_order_relaxed) != nullptr) return true;
  auto block = std::make_unique<Block>(options_.payload_max_bytes);
  if (block->memory == nullptr) return false;
  blocks_[number].store(block.release(), std::memory_order_release);
  return true;
}

int RingThread::open_ring() {
  io_uring_params params{};
  params.flags = IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
  params.cq_entries = kCompletions;
  if (const int result = io_uring_queue_init_params(kSubmissions, &ring_, &params); result != 0) return -result;
  constexpr io_uring_op kOperations[] = {IORING_OP_URING_CMD};
  const int error = restrict_ring(&ring_, kOperations);
  if (error != 0) io_uring_queue_exit(&ring_);
  return error;
}

// False: it is to end.
bool RingThread::take_phase() {
  const Phase phase = phase_.load(std::memory_order_acquire);
  if (phase == seen_) [[likely]]
    return phase != Phase::ended;
  if (seen_ == Phase::opened && phase == Phase::serving) register_queues();
  seen_ = phase;
  reached_.store(phase);
  reached_.notify_all();
  return phase != Phase::ended;
}

void RingThread::register_queues() {
  for (const uint16_t number : options_.queues) {
    const bool is_own = queues_.empty();
    const uint32_t at_first = is_own ? kEntriesAtOnce : kOtherEntriesAtFirst;
    queues_.push_back({.number = number, .free_min = at_first / 2});
    add_entries(queues_.back(), at_first);
  }
  enter(0);
  take_completions();  // a refusal shows at once
  registered_.store(!has_failed(), std::memory_order_release);
}

void RingThread::add_entries(Queue& queue, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t index = entries_.load(std::memory_order_relaxed);
    if (index == kEntriesMax || queue.entries == kQueueEntriesMax || !has_block(index / kEntriesAtOnce)) return;
    RingEntry* entry = entry_at(index);
    const size_t stride = RingEntry::kHeadSize + options_.payload_max_bytes;
    char* const memory = blocks_[index / kEntriesAtOnce].load(std::memory_order_relaxed)->memory;
    entry->place({this, queue.number, index}, memory + index % kEntriesAtOnce * stride, options_.payload_max_bytes);
    entries_.store(index + 1, std::memory_order_release);
    queue.entries++;
    prepare_command(entry, kRingRegister);
  }
}

RingThread::Queue& RingThread::queue_of(const RingEntry& entry) {
  for (Queue& queue : queues_) {
    if (queue.number == entry.queue()) return queue;
  }
  ASSERT(false);
  return queues_.front();
}

void RingThread::prepare_command(RingEntry* entry, uint32_t command) {
  io_uring_sqe* submission = next_submission();
  ::memset(submission, 0, 2 * sizeof(*submission));
  submission->opcode = IORING_OP_URING_CMD;
  submission->fd = options_.device;
  submission->cmd_op = command;
  RingCommand details{.flags = 0, .commit_id = 0, .queue = entry->queue(), .padding = {}};
  if (command == kRingRegister) {
    submission->addr = reinterpret_cast<uint64_t>(entry->buffers());
    submission->len = 2;
  } else {
    details.commit_id = entry->commit_id();
  }
  ::memcpy(submission->cmd, &details, sizeof(details));
  io_uring_sqe_set_data(submission, entry);
}

void RingThread::commit_handed_over() {
  if (handed_over_.load(std::memory_order_relaxed) == nullptr) return;
  RingEntry* entry = handed_over_.exchange(nullptr, std::memory_order_acquire);
  while (entry != nullptr) {
    RingEntry* const next = entry->next;
    commit(entry);
    entry = next;
  }
}

void RingThread::commit(RingEntry* entry) {
  queue_of(*entry).ours--;
  touched_ += entry->touched();
  uncommitted_ += entry->payload_size();
  prepare_command(entry, kRingCommitAndFetch);
  entry->release();
  note_reply();
  if (uncommitted_ >= kUncommittedMax && io_uring_cq_ready(&ring_) > 0) enter(0);
}

void RingThread::prepare_wake_up() {
  if (wake_prepared_) return;
  io_uring_sqe* submission = next_submission();
  ::memset(submission, 0, 2 * sizeof(*submission));
  io_uring_prep_read(submission, wake_fd_.get(), &wakes_, sizeof(wakes_), 0);
  io_uring_sqe_set_data(submission, nullptr);
  wake_prepared_ = true;
}

// Whoever hands over after this look sees that it sleeps.
void RingThread::wait() {
  sleeping_.store(true);
  enter(handed_over_.load() == nullptr ? 1 : 0);
  sleeping_.store(false, std::memory_order_relaxed);
}

void RingThread::take_completions() {
  io_uring_cqe* completion;
  while (io_uring_peek_cqe(&ring_, &completion) == 0) {
    auto* entry = static_cast<RingEntry*>(io_uring_cqe_get_data(completion));
    const int result = completion->res;
    io_uring_cqe_seen(&ring_, completion);
    if (entry == nullptr) {
      wake_prepared_ = false;
    } else {
      take(entry, result);
    }
  }
  if (should_trim_.load(std::memory_order_relaxed) && should_trim_.exchange(false)) {
    trim(kKeptBytes);
  } else if (touched_ > options_.touched_max_bytes) [[unlikely]] {
    trim(options_.touched_max_bytes / 2);
  }
  touched_shown_.store(touched_, std::memory_order_relaxed);
}

void RingThread::take(RingEntry* entry, int result) {
  switch (result) {
    case 0: break;
    case -ENOTCONN:      // unmounted,
    case -ECONNABORTED:  // or aborted
    case -ECANCELED:
    case -ENOENT: return;  // the request went with the connection
    default:
      // The kernel goes on with the other road when it refuses an entry.
      if (!failed_.exchange(true))
        log(LogLevel::warning, "requests over io_uring: {}; going on without", error_text(-result));
      return;
  }
  if (seen_ >= Phase::draining) return;  // fails with the connection
  requests_.store(requests_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  touched_ -= std::min(touched_, entry->touched());
  note_request();
  Queue& queue = queue_of(*entry);
  queue.ours++;
  if (queue.entries - queue.ours < queue.free_min) add_entries(queue, kEntriesAtOnce);
  if (!entry->receive(next_number(*entry)).empty()) return serve_(entry);
  log(LogLevel::error, "a request over io_uring has lengths that make no sense");
  entry->reply_error(EIO);
  commit(entry);
}

uint64_t RingThread::next_number(const RingEntry& entry) {
  serial_ = (serial_ + 1) & kSerialMask;
  return kNumberBit | serial_ << 24 | uint64_t{options_.number} << 12 | entry.index();
}

// What the kernel is about to read, or has written, is left alone.
void RingThread::trim(size_t keep_bytes) {
  enter(0);
  io_uring_cqe* completion;
  unsigned head;
  io_uring_for_each_cqe(&ring_, head, completion) {
    auto* entry = static_cast<RingEntry*>(io_uring_cqe_get_data(completion));
    if (entry != nullptr) entry->has_arrived = true;
  }
  const uint32_t count = entries_.load(std::memory_order_relaxed);
  for (uint32_t i = count; i-- > 0;) {
    RingEntry* entry = entry_at(i);
    if (std::exchange(entry->has_arrived, false) || entry->is_ours() || touched_ <= keep_bytes) continue;
    touched_ -= std::min(touched_, entry->touched());
    entry->trim();
  }
}

io_uring_sqe* RingThread::next_submission() {
  return sluice::next_submission(&ring_, [this] { enter(0); });
}

void RingThread::enter(unsigned completions_min) {
  enter_ring(&ring_, completions_min);
  if (io_uring_sq_ready(&ring_) == 0) uncommitted_ = 0;
}

}  // namespace sluice
