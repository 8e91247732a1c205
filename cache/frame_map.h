// FrameMap is one bit per frame of a slab. All zeros is a valid, empty map.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "cache/block.h"

namespace sluice {

class FrameMap {
 public:
  struct Run {
    uint32_t first = 0;
    uint32_t count = 0;
    uint32_t end() const { return first + count; }
  };

  void set(Run run) {
    for_each_word(run, [this](uint32_t word, uint64_t mask) { words_[word] |= mask; });
  }
  void clear(Run run) {
    for_each_word(run, [this](uint32_t word, uint64_t mask) { words_[word] &= ~mask; });
  }

  // The run of set bits that begins at or next after `from`; count 0 when there is none.
  Run next_run(uint32_t from) const {
    const uint32_t first = next_bit(from, 0);
    return first == kFramesPerSlab ? Run{} : Run{first, next_bit(first, ~uint64_t{0}) - first};
  }

  // The run of set bits that contains `frame`, which is set.
  Run run_around(uint32_t frame) const {
    const uint32_t first = first_of_run(frame);
    return {first, next_bit(frame, ~uint64_t{0}) - first};
  }

  // The shortest run of at least `wanted`; count 0 when there is none.
  Run best_run(uint32_t wanted) const {
    Run best;
    for (Run run = next_run(0); run.count > 0; run = next_run(run.end())) {
      if (run.count == wanted) return run;
      if (run.count > wanted && (best.count == 0 || run.count < best.count)) best = run;
    }
    return best;
  }

  // Length of the longest run, by doubling: `map & (map >> n)` keeps the frames where a run of twice n begins. Some
  // ten nanoseconds a step, and fewer steps the more scattered the map is.
  uint32_t longest_run() const {
    std::array<FrameMap, 10> starts;  // starts[i]: frames where a run of 1 << i begins
    starts[0] = *this;
    if (starts[0].none()) return 0;
    uint32_t step = 0;
    for (; step + 1 < starts.size(); step++) {
      starts[step + 1] = starts[step] & (starts[step] >> (1u << step));
      if (starts[step + 1].none()) break;
    }
    uint32_t longest = 1u << step;
    FrameMap reached = starts[step];
    while (step-- > 0) {
      const FrameMap longer = reached & (starts[step] >> longest);
      if (longer.none()) continue;
      reached = longer;
      longest += 1u << step;
    }
    return longest;
  }

  uint32_t count() const {
    uint32_t count = 0;
    for (const uint64_t word : words_) count += static_cast<uint32_t>(std::popcount(word));
    return count;
  }

  // The first frame that is neither in this map nor in `other`; kFramesPerSlab when there is none.
  uint32_t first_in_neither(const FrameMap& other) const {
    FrameMap both = *this;
    for (uint32_t word = 0; word < kWords; word++) both.words_[word] |= other.words_[word];
    return both.next_bit(0, ~uint64_t{0});
  }

 private:
  static constexpr uint32_t kBits = 64;
  static constexpr uint32_t kWords = kFramesPerSlab / kBits;

  bool none() const {
    uint64_t any = 0;
    for (uint64_t word : words_) any |= word;
    return any == 0;
  }

  FrameMap operator&(const FrameMap& other) const {
    FrameMap both;
    for (uint32_t word = 0; word < kWords; word++) both.words_[word] = words_[word] & other.words_[word];
    return both;
  }

  FrameMap operator>>(uint32_t frames) const {
    FrameMap moved;
    const uint32_t whole = frames / kBits, part = frames % kBits;
    for (uint32_t word = 0; word + whole < kWords; word++) {
      moved.words_[word] = words_[word + whole] >> part;
      if (part > 0 && word + whole + 1 < kWords) moved.words_[word] |= words_[word + whole + 1] << (kBits - part);
    }
    return moved;
  }

  template <typename Apply>
  static void for_each_word(Run run, Apply apply) {
    for (uint32_t first = run.first, end = run.end(); first < end;) {
      const uint32_t count = std::min(end, (first / kBits + 1) * kBits) - first;
      apply(first / kBits, (~uint64_t{0} >> (kBits - count)) << (first % kBits));
      first += count;
    }
  }

  // First bit from `from` on that is set in the map flipped by `flip`: 0 looks for ones, all ones for zeros.
  uint32_t next_bit(uint32_t from, uint64_t flip) const {
    if (from >= kFramesPerSlab) return kFramesPerSlab;
    uint32_t word = from / kBits;
    uint64_t bits = (words_[word] ^ flip) & (~uint64_t{0} << (from % kBits));
    while (bits == 0) {
      if (++word == kWords) return kFramesPerSlab;
      bits = words_[word] ^ flip;
    }
    return word * kBits + std::countr_zero(bits);
  }

  uint32_t first_of_run(uint32_t frame) const {
    uint32_t word = frame / kBits;
    uint64_t zeros = ~words_[word] & ~(~uint64_t{0} << (frame % kBits));
    while (zeros == 0) {
      if (word == 0) return 0;
      zeros = ~words_[--word];
    }
    return word * kBits + kBits - std::countl_zero(zeros);
  }

  std::array<uint64_t, kWords> words_{};
};

}  // namespace sluice
