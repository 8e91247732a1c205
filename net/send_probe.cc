#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <array>

#include "cache/unique_fd.h"
#include "net/send_path.h"

namespace sluice {
namespace {

// A page is put into a pipe and written afterwards: a reader that gets the later byte shares the page.
bool vmsplice_shares_pages() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return false;
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  auto* byte = static_cast<volatile char*>(page);
  *byte = 'a';
  iovec iovec{page, 4096};
  const bool taken = ::vmsplice(write_end.get(), &iovec, 1, SPLICE_F_NONBLOCK) == 4096;
  *byte = 'b';
  std::array<char, 4096> read{};
  const bool shares = taken && ::read(read_end.get(), read.data(), read.size()) == 4096 && read[0] == 'b';
  ::munmap(page, 4096);
  return shares;
}

bool zerocopy_is_known() {
  io_uring_probe* probe = io_uring_get_probe();
  const bool known = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC);
  io_uring_free_probe(probe);
  return known;
}

}  // namespace

SendSupport probe_send_methods() {
  return {.vmsplice = vmsplice_shares_pages(), .zerocopy = zerocopy_is_known()};
}

}  // namespace sluice
