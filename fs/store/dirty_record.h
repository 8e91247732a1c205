// DirtyRecord counts what is dirty where the next process can read it: in a file that is mapped, so it outlives this
// process however that ends. It is no promise beyond that: after a crash of the machine it may be missing or old.
#pragma once

#include <memory>
#include <string>

#include "cache/dirty_pages.h"
#include "cache/result.h"
#include "cache/unique_fd.h"

namespace sluice {

class DirtyRecord {
 public:
  // Makes the file, and its directory, where they are not there. Errors: EWOULDBLOCK, another process has it; those of
  // open(2) and mmap(2).
  static Result<std::unique_ptr<DirtyRecord>> open(const std::string& path);
  // Removes the file if nothing is dirty.
  ~DirtyRecord();
  DirtyRecord(const DirtyRecord&) = delete;
  DirtyRecord& operator=(const DirtyRecord&) = delete;

  // What the last process left.
  uint64_t left_bytes() const { return left_bytes_; }
  DirtyTotals& totals();

 private:
  struct Content;
  DirtyRecord(std::string path, UniqueFd fd, Content* content);

  const std::string path_;
  const UniqueFd fd_;
  Content* const content_;
  uint64_t left_bytes_ = 0;
};

}  // namespace sluice
