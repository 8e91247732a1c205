// A file handle names a file for good, whatever it is called and although no descriptor is open; a file whose number
// was reused is not found by it. See open_by_handle_at(2).
#pragma once

#include <cstdint>
#include <string>

#include "cache/result.h"
#include "cache/unique_fd.h"

struct file_handle;

namespace sluice {

class FileHandle {
 public:
  FileHandle() = default;
  // Handle of the file behind `fd` (O_PATH will do); empty where the file system gives none.
  static FileHandle of(int fd);

  // The handle in the form of the kernel's calls.
  static FileHandle of(const struct ::file_handle& handle);

  bool empty() const { return bytes_.empty(); }
  uint64_t hash() const;
  // To keep it beyond the process: its bytes, and back.
  const std::string& bytes() const { return bytes_; }
  static FileHandle from_bytes(std::string bytes);  // empty when they cannot be one
  // An O_PATH descriptor, of a symbolic link too. `mount_fd` must not be O_PATH. Needs CAP_DAC_READ_SEARCH.
  // Errors: ESTALE, and those of open(2).
  Result<UniqueFd> open(int mount_fd) const;

  friend bool operator==(const FileHandle&, const FileHandle&) = default;

 private:
  std::string bytes_;  // type, then the handle. ext4 has 8 bytes, xfs 12: no allocation up to 14
};

}  // namespace sluice
