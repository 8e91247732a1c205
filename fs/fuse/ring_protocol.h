// FUSE over io_uring as Linux speaks it since 6.14: names and layouts of include/uapi/linux/fuse.h, protocol 7.42, for
// headers that are older. Documentation/filesystems/fuse-io-uring.rst of the kernel describes how it goes.
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>

namespace sluice {

inline constexpr uint64_t kInitOverIoUring = uint64_t{1} << 41;  // FUSE_OVER_IO_URING, in the flags of INIT

// What a command of the ring does: cmd_op of the submission.
inline constexpr uint32_t kRingRegister = 1;        // FUSE_IO_URING_CMD_REGISTER: here is an entry, bring a request
inline constexpr uint32_t kRingCommitAndFetch = 2;  // FUSE_IO_URING_CMD_COMMIT_AND_FETCH: the reply; bring the next

inline constexpr size_t kRingHeaderSize = 128;  // of each of the two parts

struct RingLengths {  // fuse_uring_ent_in_out
  uint64_t flags;
  uint64_t commit_id;
  uint32_t payload_size;  // of a request: what follows its first argument; of a reply: all that follows the header
  uint32_t padding;
  uint64_t reserved;
};

struct RingHeader {                // fuse_uring_req_header
  char message[kRingHeaderSize];   // fuse_in_header, then fuse_out_header
  char argument[kRingHeaderSize];  // the first argument of a request, if it has one
  RingLengths lengths;
};

struct RingCommand {  // fuse_uring_cmd_req, in the long half of the submission
  uint64_t flags;
  uint64_t commit_id;
  uint16_t queue;
  uint8_t padding[6];
};

static_assert(sizeof(RingLengths) == 32 && sizeof(RingHeader) == 288 && sizeof(RingCommand) == 24);

}  // namespace sluice
