#include "cache/borrows.h"

#include <vector>

#include "tests/support/catch.h"

namespace sluice {
namespace {

using Frames = std::vector<FrameNumber>;

struct Counts {  // what settling and giving back ask of the arena
  Frames counted, uncounted, released;

  void settle(Borrows& borrows, const Frames& frames) {
    borrows.settle(
        frames, [&](FrameNumber frame) { counted.push_back(frame); },
        [&](FrameNumber frame) { uncounted.push_back(frame); });
  }
  void give_back(Borrows& borrows, Borrows::Slot& slot) {
    borrows.give_back(slot, [&](FrameNumber frame) { released.push_back(frame); });
  }
};

TEST_CASE("borrows: what nobody settles costs no count", "[cache][borrows]") {
  Borrows borrows;
  Counts counts;
  Borrows::Slot* slot = borrows.take({40, 16});
  REQUIRE(slot != nullptr);
  counts.settle(borrows, {39, 56});
  counts.give_back(borrows, *slot);
  CHECK(counts.counted.empty());
  CHECK(counts.released.empty());
}

TEST_CASE("borrows: a settled frame is counted once for each holder and released by it", "[cache][borrows]") {
  Borrows borrows;
  Counts counts;
  Borrows::Slot* first = borrows.take({40, 16});
  Borrows::Slot* second = borrows.take({44, 1});
  counts.settle(borrows, {40, 44, 55});
  CHECK(counts.counted == Frames{40, 44, 55, 44});
  counts.settle(borrows, {44});  // given to somebody else meanwhile: these holders have nothing to do with it
  CHECK(counts.counted.size() == 4);
  CHECK(counts.uncounted.empty());
  counts.give_back(borrows, *second);
  CHECK(counts.released == Frames{44});
  counts.give_back(borrows, *first);
  CHECK(counts.released == Frames{44, 40, 44, 55});
}

TEST_CASE("borrows: a frame's number may be the least and the greatest there is", "[cache][borrows]") {
  Borrows borrows;
  Counts counts;
  Borrows::Slot* least = borrows.take({0, 1});
  Borrows::Slot* greatest = borrows.take({kNoFrame - 16, 16});
  counts.settle(borrows, {0, kNoFrame - 1});
  CHECK(counts.counted == Frames{0, kNoFrame - 1});
  counts.give_back(borrows, *least);
  counts.give_back(borrows, *greatest);
  CHECK(counts.released == Frames{0, kNoFrame - 1});
}

TEST_CASE("borrows: a thread's slots come to an end and back again", "[cache][borrows]") {
  Borrows borrows;
  Counts counts;
  std::vector<Borrows::Slot*> taken;
  for (Borrows::Slot* slot = borrows.take({7, 2}); slot != nullptr; slot = borrows.take({7, 2})) taken.push_back(slot);
  REQUIRE_FALSE(taken.empty());
  Borrows::note_pages(*taken.back(), 2);
  counts.give_back(borrows, *taken.back());
  CHECK(borrows.take({7, 2}) == taken.back());
  Borrows::note_pages(*taken.back(), 3);
  CHECK(borrows.noted_pages() == 5);
  counts.settle(borrows, {8});
  CHECK(counts.counted.size() == taken.size());
}

}  // namespace
}  // namespace sluice
