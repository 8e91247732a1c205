// RingEntry is one place in which the kernel puts a request and takes the reply: a header and a payload, which come and
// go together. While it holds a request it is ours, until the reply was committed.
//
// libfuse wants a request as read(2) would give it, in one piece. The kernel gives three: header and first argument,
// 128 bytes for each, and the payload. So the payload begins on a page, and the other two are put before it:
//
//   | RingHeader ...          | fuse_in_header | argument || payload ...
//   ^ page                    ^ the request, in one piece  ^ page
//
// libfuse knows the request by its number, which its reply bears. It gets a number of ours instead, which says where
// the entry is: the reply finds it without a table or a lock.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/fuse/ring_protocol.h"

namespace sluice {

class RingThread;

class RingEntry {
 public:
  static constexpr size_t kHeadSize = 4096;

  // `memory` is kHeadSize and then `payload_max` bytes, on a page. Before all else.
  struct Owner {
    RingThread* thread = nullptr;
    uint16_t queue = 0;
    uint32_t index = 0;  // of the entry, in its thread
  };
  void place(const Owner& owner, char* memory, size_t payload_max);

  RingThread* thread() const { return owner_.thread; }
  uint16_t queue() const { return owner_.queue; }
  uint32_t index() const { return owner_.index; }
  const iovec* buffers() const { return buffers_; }  // of the registration
  uint64_t commit_id() const { return header().lengths.commit_id; }

  // The kernel has put a request here. Returns it in one piece, under the number `ours`; nothing if its lengths make no
  // sense. Valid until the reply.
  std::span<char> receive(uint64_t ours);
  bool is_ours() const { return ours_.load(std::memory_order_relaxed) != 0; }
  // Our number if it holds the request that the kernel knows by this one, else 0. Any thread.
  uint64_t number_of(uint64_t kernels) const;
  uint32_t opcode() const { return opcode_; }
  std::span<char> request() const { return request_; }

  // Puts a reply of libfuse's in, header first. Too long a one becomes EIO. Whoever answers the request.
  void reply(const iovec* parts, int count);
  void reply_error(int error);
  // The reply is in the submission queue. The thread that owns the entry.
  void release() { ours_.store(0, std::memory_order_relaxed); }

  size_t payload_size() const { return header().lengths.payload_size; }
  // Memory that was written to since the last trim().
  size_t touched() const { return touched_; }
  // Gives that back. Only while it is the kernel's, which fills it by the owning thread alone.
  void trim();
  bool has_arrived = false;  // in the completion queue, not looked at yet

  // The kernel wants it to be interrupted.
  std::atomic<bool> interrupted{false};
  RingEntry* next = nullptr;  // in a list of whoever has it

 private:
  RingHeader& header() const { return *static_cast<RingHeader*>(buffers_[0].iov_base); }
  char* payload() const { return static_cast<char*>(buffers_[1].iov_base); }
  void finish(int error, size_t payload_size);
  void touch(size_t payload_size);

  Owner owner_;
  uint32_t opcode_ = 0;
  iovec buffers_[2]{};
  std::span<char> request_;
  std::atomic<uint64_t> ours_{0};
  std::atomic<uint64_t> kernels_{0};
  size_t touched_ = 0;
};

}  // namespace sluice
