// One connection to an NFSv3 server, for a client that is to cost little itself: calls gather until somebody waits for
// a reply, and bytes that nobody looks at are dropped in the kernel. It reads a reply in order, as RFC 1813 lists its
// fields. For one thread.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "cache/unique_fd.h"
#include "net/nfs/xdr.h"
#include "tools/complaint.h"

namespace sluice {

enum class RpcProgram : uint32_t { nfs = 100003, mount = 100005 };

class NfsConnection {
 public:
  // `address`: IPv4, in digits.
  static Checked<NfsConnection> connect(const std::string& address, uint16_t port);

  // Queues a call; calls are numbered from 0 on. `data` follows the arguments without being copied, as an opaque's
  // bytes: it must be a multiple of four long, and stay until the reply has come.
  void call(RpcProgram program, uint32_t procedure, const XdrWriter& arguments, std::string_view data = {});

  // Sends what is queued and reads the head of the next reply; its results follow. Returns which call it answers.
  // Complains when the server did not accept the call.
  Checked<uint32_t> begin_reply();
  Checked<uint32_t> u32();
  Checked<uint64_t> u64();
  Checked<std::string> opaque();
  Checked<> skip(size_t count);
  Checked<> skip_opaque();
  // After the last field. Complains when there is more.
  Checked<> end_reply();

 private:
  explicit NfsConnection(UniqueFd socket) : socket_(std::move(socket)), buffer_(kBufferSize) {}
  static constexpr size_t kBufferSize = 64 << 10;

  Checked<> flush(std::string_view data);
  Checked<> fill();
  Checked<> next_fragment();
  Checked<> read_raw(void* target, size_t count);
  Checked<> skip_raw(size_t count);
  Checked<> read(void* target, size_t count);

  UniqueFd socket_;
  std::string queued_;
  Checked<> failure_;  // of a call whose data had to be sent at once
  uint32_t calls_ = 0;

  std::vector<char> buffer_;
  size_t at_ = 0;   // the next byte in buffer_
  size_t end_ = 0;  // and the last
  size_t fragment_left_ = 0;
  bool last_fragment_ = true;
};

}  // namespace sluice
