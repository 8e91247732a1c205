// A seed for randomised tests: from SLUICE_SEED, else new each run; printed so that a failure can be run again.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace sluice {

inline uint64_t test_seed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("SLUICE_SEED");
    const uint64_t value = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    std::printf("SLUICE_SEED=%llu\n", static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

}  // namespace sluice
