// Root is the directory that is served. Where allowed it is a private clone of the mount, so that nothing mounted later
// over or inside the source is ever seen: a MOUNTPOINT inside or equal to SOURCE cannot recurse, nested mounts look
// like the directories below them.
#pragma once

#include <string>

#include "cache/result.h"
#include "cache/unique_fd.h"
#include "fs/store/file_handle.h"
#include "fs/store/path.h"

namespace sluice {

struct RootOptions {
  std::string source;
  bool read_only = false;
  bool clone = true;         // false: even where a clone is allowed do without
  bool file_handles = true;  // false: even where they work do without
};

class Root {
 public:
  // Errors: ENOENT, ENOTDIR, EACCES for the source.
  static Result<Root> open(const RootOptions& options);

  // The directory of `other`, opened with the same options, in the place of this one, under the same descriptors.
  // Errors: EXDEV when it lacks what this one has (a clone, handles).
  Result<void> exchange(const Root& other) const;

  int fd() const { return path_.get(); }  // O_PATH
  bool is_clone() const { return is_clone_; }
  // Files can be found again by handle. Only in a clone: there the kernel refuses the ".." of a directory that was
  // moved out.
  bool has_handles() const { return has_handles_; }
  // A file system of this machine: what the kernel has cached is true, and calls do not wait for a network.
  bool is_local() const { return is_local_; }
  // What is compressed, or kept beside the attributes, comes through the page cache even by O_DIRECT.
  bool may_buffer_direct_io() const { return may_buffer_direct_io_; }

  // Goes down from the root, symbolic links are followed as far as they stay inside. `resolve`: more RESOLVE_* flags.
  Result<UniqueFd> open_path(const char* path, int flags, uint64_t resolve) const;
  // The same for paths longer than PATH_MAX.
  Result<UniqueFd> open_long_path(const std::string& path, int flags, uint64_t resolve) const;
  // The entry itself, never what it links to. `directory` is at or below the root.
  Result<UniqueFd> open_entry(int directory, const char* name, int flags) const;
  // Errors: also EXDEV for a mount point, unless the root is a clone.
  Result<Statx> statx_entry(int directory, const char* name) const;
  Result<UniqueFd> open_handle(const FileHandle& handle) const { return handle.open(mount_.get()); }

 private:
  UniqueFd path_;
  UniqueFd mount_;  // the same directory, opened for reading: open_by_handle_at takes no O_PATH. Only with handles
  bool is_clone_ = false;
  bool has_handles_ = false;
  bool is_local_ = false;
  bool may_buffer_direct_io_ = false;
};

}  // namespace sluice
