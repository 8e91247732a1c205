// The units of the cache. The 4 KiB page is the unit of validity, the 64 KiB block the unit of index and policy,
// the 2 MiB slab the unit in which memory comes from the system.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice {

inline constexpr uint32_t kPageSize = 4096;
inline constexpr uint32_t kPagesPerBlock = 16;
inline constexpr uint32_t kBlockSize = kPageSize * kPagesPerBlock;
inline constexpr size_t kSlabSize = size_t{2} << 20;
inline constexpr uint32_t kFramesPerSlab = kSlabSize / kPageSize;

using FrameNumber = uint32_t;  // a page of arena memory: slab * kFramesPerSlab + page in the slab
inline constexpr FrameNumber kNoFrame = UINT32_MAX;

using BlockId = uint32_t;  // a block's place in the index; dense, so that policies can use arrays
inline constexpr BlockId kNoBlock = UINT32_MAX;

struct FrameRun {  // adjacent frames of one slab
  FrameNumber first;
  uint32_t count;
};

struct PageRange {  // pages of a file, by number
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t end() const { return first + count; }
  bool empty() const { return count == 0; }
  bool overlaps(const PageRange& other) const { return first < other.end() && other.first < end(); }
};

// The pages that hold bytes [offset, offset + length).
inline PageRange pages_of(uint64_t offset, uint64_t length) {
  if (length == 0) return {offset / kPageSize, 0};
  const uint64_t first = offset / kPageSize;
  return {first, (offset + length - 1) / kPageSize - first + 1};
}

}  // namespace sluice
