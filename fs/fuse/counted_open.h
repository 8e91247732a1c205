// One open of a file that `Owner` counts, as long as it lives: its end is the owner's closed(number).
#pragma once

#include <utility>

#include "fs/store/types.h"

namespace sluice {

template <typename Owner>
class CountedOpen {
 public:
  CountedOpen() = default;
  CountedOpen(Owner* owner, InodeNumber number) : owner_(owner), number_(number) {}
  CountedOpen(CountedOpen&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), number_(other.number_) {}
  CountedOpen& operator=(CountedOpen&&) = delete;
  ~CountedOpen() {
    if (owner_ != nullptr) owner_->closed(number_);
  }

 private:
  Owner* owner_ = nullptr;
  InodeNumber number_ = 0;
};

}  // namespace sluice
