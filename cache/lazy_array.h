// LazyArray is an array of a fixed size that starts as zeros and takes memory only where it was touched, so that tables
// can be as long as the largest cache needs. T must be valid when all its bytes are zero. Ends the process when the
// address space is refused.
#pragma once

#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cache/assert.h"

namespace sluice {

template <typename T>
class LazyArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit LazyArray(size_t size) : size_(size) {
    ASSERT(size > 0);
    void* memory =
        ::mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(memory != MAP_FAILED);
    // A huge page at the first touch would be memory that nobody asked for.
    ::madvise(memory, size * sizeof(T), MADV_NOHUGEPAGE);
    entries_ = static_cast<T*>(memory);
  }
  ~LazyArray() { ::munmap(entries_, size_ * sizeof(T)); }
  LazyArray(const LazyArray&) = delete;
  LazyArray& operator=(const LazyArray&) = delete;

  T& operator[](size_t index) { return entries_[index]; }
  const T& operator[](size_t index) const { return entries_[index]; }
  T* data() { return entries_; }
  size_t size() const { return size_; }

  // Entries from there on are zeros again, and their memory the system's.
  void forget_from(size_t index) {
    const uintptr_t first = reinterpret_cast<uintptr_t>(entries_ + index);
    const uintptr_t page = (first + kSystemPage - 1) / kSystemPage * kSystemPage;
    const uintptr_t end = reinterpret_cast<uintptr_t>(entries_ + size_);
    if (index >= size_) return;
    ::memset(static_cast<void*>(entries_ + index), 0, std::min(page, end) - first);
    if (page < end) ::madvise(reinterpret_cast<void*>(page), end - page, MADV_DONTNEED);
  }

 private:
  static constexpr uintptr_t kSystemPage = 4096;

  const size_t size_;
  T* entries_;
};

}  // namespace sluice
