#include "fs/fuse/fuse_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "cache/assert.h"
#include "cache/unique_fd.h"
#include "fs/store/backing_health.h"

namespace sluice {
namespace {

// Memory that replies and requests have touched and that is kept while they come, of all threads together.
constexpr size_t kTouchedMaxBytes = size_t{128} << 20;
constexpr size_t kTouchedMinBytes = size_t{16} << 20;
// An interrupt may come a moment before its request, which waits for the thread of its queue.
constexpr int kLooks = 5;
constexpr std::chrono::milliseconds kLookPause{1};

thread_local bool is_to_call_again = false;

// Whether the store may know the answer without asking the backing, and leaves nothing behind where it does not.
bool may_be_known(uint32_t opcode) {
  switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_GETATTR:
    case FUSE_READLINK:
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR: return true;
    default: return false;
  }
}

uint32_t possible_processors() {
  const UniqueFd fd(::open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t length = fd ? ::read(fd.get(), text, sizeof(text)) : -1;
  return length <= 0 ? 0 : processors_of({text, static_cast<size_t>(length)});
}

std::vector<uint16_t> usable_processors(uint32_t possible) {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof(set), &set);
  std::vector<uint16_t> usable;
  for (uint32_t i = 0; i < std::min<uint32_t>(possible, CPU_SETSIZE); ++i) {
    if (CPU_ISSET(i, &set)) usable.push_back(static_cast<uint16_t>(i));
  }
  if (usable.empty()) usable.push_back(0);
  return usable;
}

}  // namespace

uint32_t processors_of(std::string_view list) {
  const size_t at = list.find_last_of("-,");
  const std::string last(list.substr(at == list.npos ? 0 : at + 1));
  char* end = nullptr;
  const unsigned long number = ::strtoul(last.c_str(), &end, 10);
  if (end == last.c_str() || number >= RingThread::kThreadsMax) return 0;
  return static_cast<uint32_t>(number) + 1;
}

std::vector<std::vector<uint16_t>> deal_queues(uint32_t queues, const std::vector<uint16_t>& usable) {
  std::vector<std::vector<uint16_t>> dealt;
  for (const uint16_t processor : usable) dealt.push_back({processor});
  size_t next = 0;
  for (uint32_t i = 0; i < queues; ++i) {
    if (std::find(usable.begin(), usable.end(), i) != usable.end()) continue;
    dealt[next++ % dealt.size()].push_back(static_cast<uint16_t>(i));
  }
  return dealt;
}

FuseRing::FuseRing(const FuseRingOptions& options, fuse_session* session)
    : session_(session), workers_(options.workers, [this](RingEntry* entry) { serve_on_worker(entry); }) {}

Result<std::unique_ptr<FuseRing>> FuseRing::create(const FuseRingOptions& options, fuse_session* session) {
  const uint32_t queues = possible_processors();
  if (queues == 0) return fail(ENOENT);
  const auto dealt = deal_queues(queues, usable_processors(queues));
  std::unique_ptr<FuseRing> ring(new FuseRing(options, session));
  for (const auto& own : dealt) {
    RingThreadOptions thread;
    thread.device = fuse_session_fd(session);
    thread.number = static_cast<uint32_t>(ring->threads_.size());
    thread.processor = own.front();
    thread.queues = own;
    thread.payload_max_bytes = options.payload_max_bytes;
    thread.touched_max_bytes = std::max(kTouchedMinBytes, kTouchedMaxBytes / dealt.size());
    ring->threads_.push_back(
        std::make_unique<RingThread>(std::move(thread), [ring = ring.get()](RingEntry* entry) { ring->route(entry); }));
    ring->companions_.push_back(std::make_unique<RingCompanion>(
        own.front(), [ring = ring.get()](RingEntry* entry) { ring->serve_on_worker(entry); }));
    TRY(ring->threads_.back()->open());
  }
  return ring;
}

void FuseRing::start() {
  for (auto& thread : threads_) thread->start();
}

// A read never blocks: what is missing is parked.
void FuseRing::route(RingEntry* entry) {
  const std::span<char> request = entry->request();
  if (entry->opcode() == FUSE_READ) return process(entry, request.data(), request.size());
  if (may_be_known(entry->opcode())) {
    const BackingHealth::NoCalls here;
    process(entry, request.data(), request.size());
    if (!std::exchange(is_to_call_again, false)) return;
  }
  post(entry);
}

void FuseRing::call_again() {
  is_to_call_again = true;
}

// The companion first: it runs on the same processor, and while it is free nothing else of this processor's is under
// way. What comes beside it goes to whichever processor is free.
void FuseRing::post(RingEntry* entry) {
  if (!companions_[entry->thread()->number()]->give(entry)) workers_.post(entry);
}

// A request may be answered before its handler has returned, when the backing hangs, and its place be used again. So
// the handler gets a copy of the names that it goes on to use. The data of a write is copied by the store before
// anything can hang.
void FuseRing::serve_on_worker(RingEntry* entry) {
  const std::span<char> request = entry->request();
  if (entry->opcode() == FUSE_WRITE) return process(entry, request.data(), request.size());
  thread_local std::vector<char> copy;
  copy.assign(request.begin(), request.end());
  process(entry, copy.data(), copy.size());
}

void FuseRing::process(RingEntry* entry, void* message, size_t bytes) {
  fuse_in_header header;
  ::memcpy(&header, message, sizeof(header));
  if (entry->interrupted.load(std::memory_order_relaxed)) {  // before libfuse knew of the request
    struct {
      fuse_in_header header{};
      fuse_interrupt_in body{};
    } interrupt;
    interrupt.header.len = sizeof(interrupt);
    interrupt.header.opcode = FUSE_INTERRUPT;
    interrupt.body.unique = header.unique;
    fuse_buf buffer{};
    buffer.mem = &interrupt;
    buffer.size = sizeof(interrupt);
    fuse_session_process_buf(session_, &buffer);
  }
  fuse_buf buffer{};
  buffer.mem = message;
  buffer.size = bytes;
  fuse_session_process_buf(session_, &buffer);
}

bool FuseRing::reply(const iovec* parts, int count) {
  fuse_out_header header;
  ::memcpy(&header, parts[0].iov_base, sizeof(header));
  if (!RingThread::is_number(header.unique)) return false;
  RingEntry* entry = threads_[RingThread::thread_of(header.unique)]->entry_of(header.unique);
  ASSERT(entry->is_ours());
  entry->reply(parts, count);
  entry->thread()->complete(entry);
  return true;
}

RingEntry* FuseRing::find(uint64_t kernels) const {
  for (const auto& thread : threads_) {
    if (RingEntry* entry = thread->find(kernels)) return entry;
  }
  return nullptr;
}

void FuseRing::translate_interrupt(void* message, size_t bytes) {
  fuse_in_header header;
  fuse_interrupt_in body;
  if (bytes < sizeof(header) + sizeof(body)) return;
  ::memcpy(&header, message, sizeof(header));
  if (header.opcode != FUSE_INTERRUPT) return;
  char* const at = static_cast<char*>(message) + sizeof(header);
  ::memcpy(&body, at, sizeof(body));
  for (int i = 0; i < kLooks; ++i) {
    if (i > 0) std::this_thread::sleep_for(kLookPause);
    RingEntry* entry = find(body.unique);
    const uint64_t ours = entry == nullptr ? 0 : entry->number_of(body.unique);
    if (ours == 0) continue;
    entry->interrupted.store(true, std::memory_order_relaxed);
    body.unique = ours;
    ::memcpy(at, &body, sizeof(body));
    return;
  }
}

void FuseRing::tick(uint32_t stuck) {
  workers_.tick(stuck);
  for (auto& thread : threads_) thread->tick();
}

void FuseRing::drain() {
  for (auto& thread : threads_) thread->drain();
  for (auto& companion : companions_) companion->stop();
  workers_.stop();
}

void FuseRing::end() {
  for (auto& thread : threads_) thread->end();
}

void FuseRing::abandon() {
  for (auto& thread : threads_) thread->begin_end();
}

bool FuseRing::is_in_use() const {
  return std::all_of(threads_.begin(), threads_.end(),
                     [](const auto& thread) { return thread->is_registered() && !thread->has_failed(); });
}

uint64_t FuseRing::requests() const {
  uint64_t sum = 0;
  for (const auto& thread : threads_) sum += thread->requests();
  return sum;
}

uint64_t FuseRing::touched_bytes() const {
  uint64_t sum = 0;
  for (const auto& thread : threads_) sum += thread->touched_bytes();
  return sum;
}

}  // namespace sluice
