#include "cache/slab_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "cache/assert.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace sluice {

Result<SlabMemory> SlabMemory::reserve(uint32_t slabs) {
  const size_t wanted = slabs * kSlabSize;
  void* raw =
      ::mmap(nullptr, wanted + kSlabSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return fail(ENOMEM);
  const auto start = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (start + kSlabSize - 1) & ~(kSlabSize - 1);
  const size_t before = aligned - start;
  if (before > 0) ::munmap(raw, before);
  if (before < kSlabSize) ::munmap(reinterpret_cast<void*>(aligned + wanted), kSlabSize - before);
  // Each is a wish: where the kernel knows no huge pages, small ones do.
  for (int advice : {MADV_HUGEPAGE, MADV_DONTFORK, MADV_DONTDUMP}) {
    ::madvise(reinterpret_cast<void*>(aligned), wanted, advice);
  }
  return SlabMemory(reinterpret_cast<char*>(aligned), slabs);
}

SlabMemory::SlabMemory(SlabMemory&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), slabs_(other.slabs_) {}

SlabMemory::~SlabMemory() {
  if (base_ != nullptr) ::munmap(base_, slabs_ * kSlabSize);
}

Result<> SlabMemory::touch(uint32_t slab) {
  char* const start = address(slab);
  if (::madvise(start, kSlabSize, MADV_POPULATE_WRITE) == 0) return {};
  if (errno != EINVAL) return fail(ENOMEM);
  // Kernels before 5.14 do not know the advice.
  for (size_t offset = 0; offset < kSlabSize; offset += kPageSize) static_cast<volatile char*>(start)[offset] = 0;
  return {};
}

void SlabMemory::give_back(uint32_t slab) {
  ::madvise(address(slab), kSlabSize, MADV_DONTNEED);
}

void SlabMemory::replace(uint32_t slab, uint32_t first, uint32_t count) {
  ASSERT(first + count < kFramesPerSlab);
  const int result = ::madvise(address(slab) + size_t{first} * kPageSize, size_t{count} * kPageSize, MADV_DONTNEED);
  ASSERT(result == 0);  // going on would overwrite what a reader is still to get
}

void SlabMemory::fill(uint32_t slab, uint32_t first, uint32_t count) {
  ::madvise(address(slab) + size_t{first} * kPageSize, size_t{count} * kPageSize, MADV_POPULATE_WRITE);
}

void SlabMemory::split(uint32_t slab, uint32_t frame) {
  // MADV_COLD of a part of a huge page splits it first.
  ::madvise(address(slab) + size_t{frame} * kPageSize, kPageSize, MADV_COLD);
}

}  // namespace sluice
