#include "fs/store/dirty_record.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <new>
#include <utility>

#include "fs/store/private_directory.h"

namespace sluice {

struct DirtyRecord::Content {
  static constexpr char kMagic[16] = "sluice dirty 1";
  char magic[16];
  DirtyTotals totals;
};

Result<std::unique_ptr<DirtyRecord>> DirtyRecord::open(const std::string& path) {
  static_cast<void>(make_private_directory(std::filesystem::path(path).parent_path()));  // open says it
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return fail(errno);
  // Not sparse: a full disk must not end us by SIGBUS.
  if (::ftruncate(fd.get(), sizeof(Content)) != 0) return fail(errno);
  if (const int error = ::posix_fallocate(fd.get(), 0, sizeof(Content)); error != 0) return fail(error);
  void* map = ::mmap(nullptr, sizeof(Content), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (map == MAP_FAILED) return fail(errno);
  return std::unique_ptr<DirtyRecord>(new DirtyRecord(path, std::move(fd), static_cast<Content*>(map)));
}

DirtyRecord::DirtyRecord(std::string path, UniqueFd fd, Content* content)
    : path_(std::move(path)), fd_(std::move(fd)), content_(content) {
  if (::memcmp(content_->magic, Content::kMagic, sizeof Content::kMagic) == 0)
    left_bytes_ = content_->totals.kept() * kPageSize;
  ::memcpy(content_->magic, Content::kMagic, sizeof Content::kMagic);
  new (&content_->totals) DirtyTotals;
}

DirtyRecord::~DirtyRecord() {
  if (content_->totals.kept() == 0) ::unlink(path_.c_str());
  ::munmap(content_, sizeof(Content));
}

DirtyTotals& DirtyRecord::totals() {
  return content_->totals;
}

}  // namespace sluice
