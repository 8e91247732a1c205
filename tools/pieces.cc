#include "tools/pieces.h"

#include <utility>

namespace sluice {
namespace {

constexpr uint32_t kInFlightMax = 4;

}  // namespace

void Pieces::read(FileData& data, uint64_t offset, uint64_t length) {
  {
    MutexLock lock(&mutex_);
    while (in_flight_ == kInFlightMax) changed_.wait(mutex_);
    in_flight_++;
  }
  data.warm(offset, length, [this](const Result<uint64_t>& read) { end(read); });
}

void Pieces::end(const Result<uint64_t>& read) {
  MutexLock lock(&mutex_);
  in_flight_--;
  if (read) bytes_ += *read;
  if (!read && !error_) error_ = read.error();
  changed_.notify_all();
}

Result<void> Pieces::wait() {
  MutexLock lock(&mutex_);
  while (in_flight_ > 0) changed_.wait(mutex_);
  if (const auto error = std::exchange(error_, std::nullopt)) return tl::unexpected(*error);
  return {};
}

uint64_t Pieces::bytes() const {
  MutexLock lock(&mutex_);
  return bytes_;
}

}  // namespace sluice
