#include "tools/bench/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "cache/log.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "tools/bench/fuse_daemon.h"
#include "tools/bench/loopback.h"

namespace sluice {
namespace {

constexpr int kTries = 20;

// Pages that went to a peer on this machine by reference stay in use after it has read them, until the processor that
// sent them handles its next packet. So each gets one.
Checked<> let_go_of_sent_pages() {
  const LoopbackPair pair = TRY(connect_to_self());
  char byte = 0;
  for (const int processor : usable_processors()) {
    run_on({processor});
    if (::send(pair.sender.get(), &byte, 1, 0) != 1 || ::recv(pair.receiver.get(), &byte, 1, 0) != 1)
      return complain("127.0.0.1: a byte does not arrive: {}", error_text(errno));
  }
  run_on(usable_processors());
  return {};
}

}  // namespace

Checked<uint64_t> page_cache_pages(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat attributes {};
  if (!fd || ::fstat(fd.get(), &attributes) != 0) return complain("{}: {}", path, error_text(errno));
  const auto size = static_cast<size_t>(attributes.st_size);
  void* const bytes = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (bytes == MAP_FAILED) return complain("{}: {}", path, error_text(errno));
  const auto page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((size + page_bytes - 1) / page_bytes);
  const int result = ::mincore(bytes, size, resident.data());
  const int error = errno;
  ::munmap(bytes, size);
  if (result != 0) return complain("{}: cannot see what the page cache has: {}", path, error_text(error));
  return std::count_if(resident.begin(), resident.end(), [](unsigned char page) { return (page & 1) != 0; });
}

Checked<> empty_page_cache(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (int i = 0; i < kTries; ++i) {
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    if (TRY(page_cache_pages(path)) == 0) return {};
    TRY(let_go_of_sent_pages());
  }
  return complain("{}: pages of the file stay in memory; set TMPDIR to a directory on a disk",
                  std::filesystem::path(path).parent_path().string());
}

}  // namespace sluice
