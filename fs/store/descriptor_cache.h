// DescriptorCache keeps O_PATH descriptors for reuse: those of files lately used, up to a maximum, and those of open
// files ("pinned"), which work on although the file was deleted. A deleted file gives back its space only when its
// last descriptor goes, so idle ones are closed after some ticks.
//
// Thread-safe. The mutex is a leaf lock; descriptors are closed outside of it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cache/mutex.h"
#include "cache/unique_fd.h"
#include "fs/store/types.h"

namespace sluice {

// Keeps the descriptor open while in use.
using PathFd = std::shared_ptr<const UniqueFd>;

class DescriptorCache {
 public:
  explicit DescriptorCache(uint32_t idle_max) : idle_max_(idle_max) {}

  // The descriptor, or null; now it is the latest used.
  PathFd get(InodeNumber number);
  void put(InodeNumber number, PathFd fd);
  // While pinned the descriptor is kept. Pins are counted; see DescriptorPin.
  void pin(InodeNumber number, PathFd fd);
  void unpin(InodeNumber number);
  void drop(InodeNumber number);  // unless pinned
  void drop_idle();
  // All of them are of no use any more; pins stay, with descriptors to come.
  void outdate();
  void remove(InodeNumber number);  // pinned or not: the number will not be asked for again

  // Time moves by ticks: closes what was not used in the last `ticks` of them.
  void tick(uint32_t ticks);

  uint64_t size() const;
  uint64_t pinned() const;

 private:
  struct Item {
    PathFd fd;  // null once outdated
    uint32_t pins = 0;
    uint32_t used_at = 0;                         // tick
    std::list<InodeNumber>::iterator idle_place;  // valid unless pinned
  };
  using Items = std::unordered_map<InodeNumber, Item>;

  void make_idle(Items::iterator item) REQUIRES(mutex_);
  PathFd take(Items::iterator item) REQUIRES(mutex_);
  PathFd take_oldest() REQUIRES(mutex_) { return take(items_.find(idle_.back())); }

  const uint32_t idle_max_;
  mutable Mutex mutex_;
  Items items_ GUARDED_BY(mutex_);
  std::list<InodeNumber> idle_ GUARDED_BY(mutex_);  // latest used first
  uint32_t now_ GUARDED_BY(mutex_) = 0;
};

class DescriptorPin {
 public:
  DescriptorPin() = default;
  DescriptorPin(DescriptorCache* cache, InodeNumber number, PathFd fd) : cache_(cache), number_(number) {
    cache_->pin(number_, std::move(fd));
  }
  DescriptorPin(DescriptorPin&& other) noexcept
      : cache_(std::exchange(other.cache_, nullptr)), number_(other.number_) {}
  DescriptorPin& operator=(DescriptorPin&& other) noexcept {
    std::swap(cache_, other.cache_);
    std::swap(number_, other.number_);
    return *this;
  }
  ~DescriptorPin() {
    if (cache_ != nullptr) cache_->unpin(number_);
  }

 private:
  DescriptorCache* cache_ = nullptr;
  InodeNumber number_ = 0;
};

}  // namespace sluice
