// The store's OpenDirectory: getdents64(2) behind a buffer, so that names may have any bytes and reading may go on at
// any offset. A directory that is read from its first entry to its last in one go is a listing, which the next open can
// be given so that it need not read the directory itself.
#pragma once

#include <functional>
#include <memory>

#include "cache/unique_fd.h"
#include "fs/store/descriptor_cache.h"
#include "fs/store/inode_table.h"
#include "fs/store/metadata_cache.h"
#include "fs/store/store.h"

namespace sluice {

struct OpenDirectoryParts {
  InodeRef inode;
  uint64_t number_mask = 0;        // see ShownNumbers
  DescriptorPin pin;               // so that the directory answers on after its deletion
  UniqueFd fd;                     // open for reading; not needed with a listing
  Listing listing;                 // null: not known
  uint64_t listing_bytes_max = 0;  // of one that is worth learning
  std::function<Result<UniqueFd>()> open;
  // Asked for before the first entry is read from `fd`; gets the listing after the last. Empty: it is not wanted.
  using Learn = std::function<void(const Listing& listing)>;
  std::function<Learn(int fd)> begin_learning;
};

std::unique_ptr<OpenDirectory> make_open_directory(OpenDirectoryParts parts);

}  // namespace sluice
