// FuseRing brings the requests of a session over io_uring (Linux 6.14), beside /dev/fuse. The kernel offers it in INIT
// when the module's parameter enable_uring is on. From the moment at which all its queues have entries every request
// comes that way, but for FORGET, INTERRUPT and what the daemon says by itself.
//
//   auto ring = FuseRing::create(options, session);   // when INIT is about to be answered: all that can be refused is
//   had
//   ... INIT is answered, with kInitOverIoUring ...
//   ring->start();
//
// Which thread serves a request?
//   a read             the one that got it. A hit is answered there, a miss is parked.
//   names, attributes  the same one, with what is known of them; if that is not enough, a worker, from the beginning.
//   all else           a worker, because it may block in a call of the backing.
//
// If the kernel refuses the entries after all, it goes on with /dev/fuse by itself, and so do we.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/result.h"
#include "fs/fuse/libfuse.h"
#include "fs/fuse/ring_thread.h"
#include "fs/fuse/ring_workers.h"

namespace sluice {

struct FuseRingOptions {
  size_t payload_max_bytes = 0;  // of a request or a reply
  RingWorkersOptions workers;
};

class FuseRing {
 public:
  // Opens rings, starts their threads. Errors: those of io_uring_setup(2), where it is refused; EAGAIN.
  static Result<std::unique_ptr<FuseRing>> create(const FuseRingOptions& options, fuse_session* session);

  // INIT was answered.
  void start();
  // A message that libfuse sends. False: it is no reply to a request that came over a ring. Any thread.
  bool reply(const iovec* parts, int count);
  // A message that came over /dev/fuse. Where it interrupts a request of a ring, it gets the number by which libfuse
  // knows that.
  void translate_interrupt(void* message, size_t bytes);

  // The request that this thread serves is to be served again by a worker. It was not answered.
  static void call_again();

  // `stuck`: threads that hang. One thread.
  void tick(uint32_t stuck);
  // No more requests; on return those received are with somebody who will answer them. Waits for calls that hang.
  void drain();
  // Those were answered: takes leave from the kernel.
  void end();
  // end(), without waiting for anything.
  void abandon();

  bool is_in_use() const;
  uint64_t requests() const;
  uint64_t touched_bytes() const;

 private:
  FuseRing(const FuseRingOptions& options, fuse_session* session);
  void route(RingEntry* entry);
  void post(RingEntry* entry);
  void serve_on_worker(RingEntry* entry);
  void process(RingEntry* entry, void* message, size_t bytes);
  RingEntry* find(uint64_t kernels) const;

  fuse_session* const session_;
  RingWorkers workers_;
  std::vector<std::unique_ptr<RingCompanion>> companions_;  // of the threads
  std::vector<std::unique_ptr<RingThread>> threads_;
};

// Processors that may ever be there: the kernel has a queue for each. Of /sys/devices/system/cpu/possible: "0-3,8".
// 0: it cannot be read.
uint32_t processors_of(std::string_view list);

// Which thread serves which queue: one for each of `usable`, its own queue first, the others dealt out.
std::vector<std::vector<uint16_t>> deal_queues(uint32_t queues, const std::vector<uint16_t>& usable);

}  // namespace sluice
