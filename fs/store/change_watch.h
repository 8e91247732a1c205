// ChangeWatch tells which bytes of a file changed since it was made, so that a reply that takes longer than a moment is
// broken off only when its own bytes change: a log that grows can be downloaded.
//
// A change of our own is known to the watches before it reaches the backing or the cache; what somebody else changed
// could be anything, and is known when it is noticed. Whoever first gets pages and then finds their bytes untouched has
// bytes of the version that the watch was made for.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace sluice {

struct ByteRange {
  uint64_t offset = 0;
  uint64_t end = 0;

  bool empty() const { return offset >= end; }
};
inline constexpr ByteRange kAllBytes{0, UINT64_MAX};

class ChangeWatch {
 public:
  virtual ~ChangeWatch() = default;  // before the file that made it
  // Whether any of these bytes changed, or is about to. May say so of bytes that lie between two changes. Any thread.
  virtual bool touched(const ByteRange& bytes) const = 0;
};

// The watches of one file and the changes under way. Not thread-safe, but for Watch::touched.
class ChangeWatches {
 public:
  class Watch {
   public:
    bool touched(const ByteRange& bytes) const {
      return bytes.offset < end_.load(std::memory_order_acquire) && offset_.load(std::memory_order_acquire) < bytes.end;
    }

   private:
    friend class ChangeWatches;
    void touch(const ByteRange& bytes);

    std::atomic<uint64_t> offset_{UINT64_MAX}, end_{0};  // around all that changed
  };

  void add(Watch* watch);
  void remove(Watch* watch);
  void begin(const ByteRange& bytes);
  void end(const ByteRange& bytes);  // as it began
  void touch_all();
  bool empty() const { return watches_.empty() && under_way_.empty(); }

 private:
  std::vector<Watch*> watches_;
  std::vector<ByteRange> under_way_;
};

}  // namespace sluice
