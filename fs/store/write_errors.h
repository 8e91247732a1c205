// WriteErrors remembers that a backing could not keep what it had accepted, which it says at fsync, at close, or while
// the store writes back what it left in the PageCache. Everybody who has the file open is told once, whoever asked the
// backing, and who opens it while nobody was told is told as well (the kernel's errseq_t). What nobody was told is for
// the end of the gateway. Guarded by the file's mutex.
#pragma once

#include <cstdint>

namespace sluice {

class WriteErrors {
 public:
  using Told = uint32_t;  // of one open: how many errors it knows of

  void note(int error) {
    ++count_;
    last_ = error;
  }
  // Of an open that begins now.
  Told at_open() const { return was_told_ == count_ ? count_ : count_ - 1; }
  // The error that this open does not know of yet, 0 for none.
  int tell(Told* told) {
    if (*told == count_) return 0;
    *told = was_told_ = count_;
    return last_;
  }
  int untold() const { return was_told_ == count_ ? 0 : last_; }

 private:
  uint32_t count_ = 0;
  uint32_t was_told_ = 0;  // as of the last error that somebody was told of
  int last_ = 0;
};

}  // namespace sluice
