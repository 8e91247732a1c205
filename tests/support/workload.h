// Seeded request sequences over numbered blocks, for tests of replacement policies where no recorded trace is at hand.
// Each is drawn from the generator it is given, so a printed seed (tests/support/seed.h) brings it back.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cache/block.h"

namespace sluice {

using Requests = std::vector<BlockId>;

struct ZipfOptions {
  uint32_t blocks = 1000;
  double exponent = 1.0;  // the n-th most popular block is asked for n^-exponent as often as the first
  uint32_t requests = 10'000;
};

// Independent requests; popularity is spread over the numbers at random.
inline Requests zipf_requests(const ZipfOptions& options, std::mt19937_64& random) {
  std::vector<double> weights(options.blocks);
  for (uint32_t rank = 0; rank < options.blocks; rank++) weights[rank] = std::pow(rank + 1, -options.exponent);
  std::shuffle(weights.begin(), weights.end(), random);
  std::discrete_distribution<BlockId> distribution(weights.begin(), weights.end());
  Requests requests(options.requests);
  for (BlockId& block : requests) block = distribution(random);
  return requests;
}

// first, first + 1, ... as often as it takes; with `blocks` >= `requests` a scan.
inline Requests loop_requests(BlockId first, uint32_t blocks, uint32_t requests) {
  Requests sequence(requests);
  for (uint32_t i = 0; i < requests; i++) sequence[i] = first + i % blocks;
  return sequence;
}

// A working set of `blocks` that moves on by one block every `requests_per_step`.
inline Requests drift_requests(uint32_t blocks, uint32_t requests_per_step, uint32_t requests,
                               std::mt19937_64& random) {
  Requests sequence(requests);
  for (uint32_t i = 0; i < requests; i++) {
    sequence[i] = i / requests_per_step + static_cast<BlockId>(random() % blocks);
  }
  return sequence;
}

// Both, each in its own order, dealt together at random.
inline Requests mix_requests(const Requests& a, const Requests& b, std::mt19937_64& random) {
  Requests mixed;
  size_t from_a = 0;
  size_t from_b = 0;
  while (mixed.size() < a.size() + b.size()) {
    const size_t left = a.size() + b.size() - mixed.size();
    mixed.push_back(random() % left < a.size() - from_a ? a[from_a++] : b[from_b++]);
  }
  return mixed;
}

inline Requests& append(Requests& requests, const Requests& more) {
  requests.insert(requests.end(), more.begin(), more.end());
  return requests;
}

// A bit of everything that a file server sees, over blocks below 20,000: a Zipf set, then with a scan, a loop larger
// than most caches, a drift, and the first set again.
inline Requests mixed_requests(std::mt19937_64& random) {
  const Requests zipf = zipf_requests({.blocks = 1500, .exponent = 0.9, .requests = 15'000}, random);
  Requests requests = zipf;
  append(requests, mix_requests(zipf, loop_requests(5000, 10'000, 10'000), random));
  append(requests, loop_requests(2000, 700, 5000));
  append(requests, drift_requests(300, 20, 10'000, random));
  return append(requests, zipf);
}

}  // namespace sluice
