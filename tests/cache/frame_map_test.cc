#include "cache/frame_map.h"

#include <algorithm>
#include <random>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

std::vector<FrameMap::Run> runs_of(const std::vector<bool>& bits) {
  std::vector<FrameMap::Run> runs;
  for (uint32_t i = 0; i < bits.size(); i++) {
    if (!bits[i]) continue;
    if (i == 0 || !bits[i - 1]) runs.push_back({i, 0});
    runs.back().count++;
  }
  return runs;
}

void compare(const FrameMap& map, const std::vector<bool>& bits) {
  const auto expected = runs_of(bits);
  uint32_t longest = 0;
  FrameMap::Run run = map.next_run(0);
  for (const FrameMap::Run& wanted : expected) {
    REQUIRE((run.first == wanted.first && run.count == wanted.count));
    const FrameMap::Run around = map.run_around(wanted.first + wanted.count / 2);
    REQUIRE((around.first == wanted.first && around.count == wanted.count));
    longest = std::max(longest, wanted.count);
    run = map.next_run(run.end());
  }
  REQUIRE(run.count == 0);
  REQUIRE(map.longest_run() == longest);
  for (uint32_t wanted : {1u, 2u, 16u, 100u, 512u}) {
    uint32_t shortest = 0;
    for (const FrameMap::Run& fit : expected) {
      if (fit.count >= wanted && (shortest == 0 || fit.count < shortest)) shortest = fit.count;
    }
    REQUIRE(map.best_run(wanted).count == shortest);
  }
}

TEST_CASE("frame_map: agrees with a plain list of bits", "[cache][arena]") {
  std::mt19937_64 random(test_seed());
  for (uint32_t run_max : {1u, 3u, 20u, 100u, 512u}) {
    FrameMap map;
    std::vector<bool> bits(kFramesPerSlab, false);
    for (int step = 0; step < 300; step++) {
      const auto first = static_cast<uint32_t>(random() % kFramesPerSlab);
      const auto count = static_cast<uint32_t>(1 + random() % std::min(run_max, kFramesPerSlab - first));
      const bool value = random() % 2 == 0;
      if (value) {
        map.set({first, count});
      } else {
        map.clear({first, count});
      }
      std::fill(bits.begin() + first, bits.begin() + first + count, value);
      compare(map, bits);
    }
  }
}

}  // namespace
}  // namespace sluice
