// Where a cached file's bytes come from. The cache knows files by number only; the store implements this over open
// descriptors, tests over memory.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

#include "cache/callback.h"
#include "cache/disk.h"
#include "cache/result.h"

namespace sluice {

class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // Reads from page-aligned `offset` into page-aligned buffers; `done` gets the bytes read, short only at the end of
  // the file. `done` runs once, on any thread, no lock held.
  virtual void read(uint64_t offset, std::vector<iovec> buffers, IoClass io_class,
                    Callback<void(Result<size_t>)> done) = 0;
};

}  // namespace sluice
