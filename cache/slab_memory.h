// SlabMemory is the arena's address space: one anonymous mapping of 2 MiB aligned slabs, advised to huge pages. A
// slab takes no memory before it is touched. It knows system calls only, not who uses which frame.
//
// The memory is not inherited by fork: a child's copy would make the next write to a frame move it to another page
// under the direct I/O in flight. Create it after the process has gone to the background. It is left out of core dumps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cache/block.h"
#include "cache/result.h"

namespace sluice {

class SlabMemory {
 public:
  // Errors: ENOMEM.
  static Result<SlabMemory> reserve(uint32_t slabs);
  SlabMemory(SlabMemory&& other) noexcept;
  SlabMemory& operator=(SlabMemory&&) = delete;
  ~SlabMemory();

  char* address(uint32_t slab) const { return base_ + slab * kSlabSize; }

  // Gives the slab its memory, as one huge page where there is one: some 200 us. Errors: ENOMEM.
  Result<> touch(uint32_t slab);
  // The slab is as it was before `touch`. Who reads its pages by reference keeps them.
  void give_back(uint32_t slab);
  // Puts fresh pages in the place of these; who reads the old ones keeps them. Never the slab's last page.
  void replace(uint32_t slab, uint32_t first, uint32_t count);
  // Gives replaced pages their memory now, not at the first touch: btrfs takes no page faults under direct I/O, and
  // reads through the page cache instead. Where the kernel does not know how (before Linux 5.14) nothing happens.
  void fill(uint32_t slab, uint32_t first, uint32_t count);
  // A replaced part of a huge page goes back to the system only once the rest is split into small pages. `frame` is any
  // frame of the rest. Does nothing while the kernel still references a page of it, or when it is split already.
  void split(uint32_t slab, uint32_t frame);

 private:
  SlabMemory(char* base, uint32_t slabs) : base_(base), slabs_(slabs) {}

  char* base_;
  uint32_t slabs_;
};

}  // namespace sluice
