// The store's OpenDirectory: getdents64(2) behind a buffer, so that names may have any bytes and reading may go on at
// any offset.
#pragma once

#include <memory>

#include "cache/unique_fd.h"
#include "fs/store/descriptor_cache.h"
#include "fs/store/inode_table.h"
#include "fs/store/store.h"

namespace sluice {

struct OpenDirectoryParts {
  InodeRef inode;
  DescriptorPin pin;  // so that the directory answers on after its deletion
  UniqueFd fd;        // open for reading
};

std::unique_ptr<OpenDirectory> make_open_directory(OpenDirectoryParts parts);

}  // namespace sluice
