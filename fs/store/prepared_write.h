// A write ready for the disk: its bytes are copied into it, once, and may come in pieces, as a socket gives them. The
// whole pages in the middle can go O_DIRECT, from fresh cache pages that are published afterwards (or from plain memory
// when the cache has none); the ends can go only as exact bytes.
#pragma once

#include <stdlib.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/block_cache.h"
#include "fs/store/change_watch.h"

namespace sluice {

struct PreparedWrite {
  struct Part {
    uint64_t offset = 0;
    std::string bytes;
    bool empty() const { return bytes.empty(); }
    iovec buffer() const { return {const_cast<char*>(bytes.data()), bytes.size()}; }
    ByteRange range() const { return {offset, offset + bytes.size()}; }
    PageRange page() const { return pages_of(offset, bytes.size()); }
  };

  // Room for `length` bytes. `cache`: null for plain memory. `at` + `length` must not exceed INT64_MAX.
  PreparedWrite(BlockCache* cache, uint64_t at, uint64_t length);
  PreparedWrite(BlockCache* cache, uint64_t at, std::string_view bytes) : PreparedWrite(cache, at, bytes.size()) {
    fill(bytes);
  }

  // The next bytes, no more than are missing.
  void fill(std::string_view next);
  uint64_t missing() const { return size - filled; }

  ByteRange bytes() const { return {offset, offset + size}; }
  PageRange range() const { return pages_of(offset, size); }
  ByteRange middle_bytes() const { return {middle_offset, middle_offset + middle_size}; }
  PageRange middle_range() const { return pages_of(middle_offset, middle_size); }
  std::vector<iovec> middle_buffers() const { return middle_buffers(0, middle_size); }
  std::vector<iovec> buffers() const;  // head, middle, tail

  uint64_t offset;
  uint64_t size;
  uint64_t filled = 0;
  std::shared_ptr<const void> room;  // let go of when all bytes are there; its owner counts what is still to come
  Part head, tail;
  uint64_t middle_offset = 0;
  uint64_t middle_size = 0;
  PageRefs middle;
  std::unique_ptr<char, decltype(&::free)> bounce{nullptr, &::free};

 private:
  std::vector<iovec> middle_buffers(uint64_t skip, uint64_t length) const;
};

// The pages that a write changed, as far as their whole content is known afterwards.
struct KnownPages {
  PageRange range;
  PageRefs pages;  // empty: not known
  bool complete() const { return pages.pages() == range.count; }
};

}  // namespace sluice
