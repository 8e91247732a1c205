// Reads much into the cache, a few pieces at a time. One thread begins them, the disk's threads end them.
#pragma once

#include <cstdint>
#include <optional>

#include "cache/mutex.h"
#include "cache/result.h"
#include "fs/store/file_data.h"

namespace sluice {

class Pieces {
 public:
  static constexpr uint64_t kBytes = uint64_t{1} << 20;

  // Up to kBytes. Waits until fewer than four are being read. The file stays open until `wait`.
  void read(FileData& data, uint64_t offset, uint64_t length);
  // Until none is. Errors: the first since the last call.
  Result<void> wait();
  // That were there or were read, since the start.
  uint64_t bytes() const;

 private:
  void end(const Result<uint64_t>& read);

  mutable Mutex mutex_;
  CondVar changed_;
  uint32_t in_flight_ GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> error_ GUARDED_BY(mutex_);
};

}  // namespace sluice
