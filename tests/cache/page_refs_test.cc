#include "cache/page_refs.h"

#include <memory>
#include <vector>

#include "tests/support/catch.h"

namespace sluice {
namespace {

std::unique_ptr<Arena> make_arena(uint32_t slabs_max) {
  auto arena = Arena::create({.slabs_max = slabs_max});
  REQUIRE(arena.has_value());
  return std::move(*arena);
}

std::vector<FrameRun> allocate(Arena& arena, uint32_t wanted) {
  std::vector<FrameRun> runs;
  REQUIRE(arena.allocate(wanted, runs) == wanted);
  return runs;
}

TEST_CASE("page_refs: pages keep the order they were appended in", "[cache][page_refs]") {
  auto arena = make_arena(1);
  const FrameRun run = allocate(*arena, 8).front();
  PageRefs pages(arena.get());
  pages.append({run.first + 4, 4});
  pages.append({run.first, 4});
  CHECK(pages.pages() == 8);
  CHECK(pages.runs().size() == 2);
  CHECK(pages.frame(0) == run.first + 4);
  CHECK(pages.frame(3) == run.first + 7);
  CHECK(pages.frame(4) == run.first);
  CHECK(pages.frame(7) == run.first + 3);
}

TEST_CASE("page_refs: adjacent runs become one, but not across the end of a slab", "[cache][page_refs]") {
  auto arena = make_arena(2);
  const FrameRun run = allocate(*arena, 8).front();
  PageRefs pages(arena.get());
  for (uint32_t page = 0; page < 8; page++) pages.append({run.first + page, 1});
  CHECK(pages.runs().size() == 1);
  CHECK(pages.runs()[0].count == 8);

  PageRefs whole(arena.get());
  for (const FrameRun part : allocate(*arena, 503 + 511)) whole.append(part);
  CHECK(whole.runs().size() == 2);
}

TEST_CASE("page_refs: the last holder's end gives the pages back and tells the listener once", "[cache][page_refs]") {
  auto arena = make_arena(1);
  int told = 0;
  std::atomic<uint64_t> waiting = 1;
  arena->on_release(&waiting, [&] { told++; });
  const uint64_t free_before = arena->stats().frames_free;
  {
    PageRefs first(arena.get());
    for (const FrameRun run : allocate(*arena, 16)) first.append(run);
    arena->reference(first.runs()[0]);
    PageRefs second(arena.get());
    second.append(first.runs()[0]);
    first.reset();
    CHECK(told == 1);
    CHECK(arena->stats().frames_free == free_before - 16);
    PageRefs moved(std::move(second));
    PageRefs assigned;
    assigned = std::move(moved);
    CHECK(moved.pages() == 0);
    CHECK(assigned.pages() == 16);
    CHECK(told == 1);
  }
  CHECK(told == 2);
  CHECK(arena->stats().frames_free == free_before);
}

TEST_CASE("page_refs: the listener is told nothing while nobody waits", "[cache][page_refs]") {
  auto arena = make_arena(1);
  int told = 0;
  std::atomic<uint64_t> waiting = 0;
  arena->on_release(&waiting, [&] { told++; });
  const auto hold_and_reset = [&] {
    PageRefs pages(arena.get());
    for (const FrameRun part : allocate(*arena, 1)) pages.append(part);
  };
  hold_and_reset();
  CHECK(told == 0);
  waiting = 1;
  hold_and_reset();
  CHECK(told == 1);
}

TEST_CASE("page_refs: taking the front splits runs and moves each reference once", "[cache][page_refs]") {
  auto arena = make_arena(1);
  const uint64_t free_before = arena->stats().frames_free;
  {
    PageRefs all(arena.get());
    std::vector<FrameNumber> frames;
    for (uint32_t count : {3, 1, 5}) {
      for (const FrameRun run : allocate(*arena, count)) all.append(run);
      for (const FrameRun run : allocate(*arena, 1)) arena->release(run);  // a gap, where the arena leaves one
    }
    for (uint64_t page = 0; page < all.pages(); page++) frames.push_back(all.frame(page));
    PageRefs front = all.take_front(0);
    CHECK(front.pages() == 0);
    std::vector<FrameNumber> taken;
    for (uint64_t count : {2, 3, 4}) {
      PageRefs part = all.take_front(count);
      CHECK(part.pages() == count);
      for (uint64_t page = 0; page < count; page++) taken.push_back(part.frame(page));
      front.append(std::move(part));
    }
    CHECK(all.pages() == 0);
    CHECK(taken == frames);
    CHECK(arena->stats().frames_free == free_before - 9);
  }
  CHECK(arena->stats().frames_free == free_before);
}

TEST_CASE("page_refs: appending takes the other's pages over", "[cache][page_refs]") {
  auto arena = make_arena(1);
  PageRefs all;
  for (int i = 0; i < 3; i++) {
    PageRefs more(arena.get());
    for (const FrameRun run : allocate(*arena, 5)) more.append(run);
    all.append(std::move(more));
    CHECK(more.pages() == 0);
  }
  CHECK(all.pages() == 15);
  all.reset();
  CHECK(arena->stats().frames_free == arena->stats().frames_max);
}

TEST_CASE("page_refs: iovecs cover exactly the bytes asked for", "[cache][page_refs]") {
  auto arena = make_arena(1);
  const FrameRun run = allocate(*arena, 4).front();
  PageRefs pages(arena.get());
  pages.append({run.first + 2, 2});
  pages.append({run.first, 2});
  for (uint64_t skip = 0; skip <= 4 * kPageSize; skip += 1024) {
    for (uint64_t length = 0; skip + length <= 4 * kPageSize; length += 512) {
      std::vector<iovec> pieces;
      pages.append_iovecs(skip, length, pieces);
      uint64_t at = skip;
      for (const iovec& piece : pieces) {
        REQUIRE(piece.iov_len > 0);
        REQUIRE(piece.iov_base == arena->address(pages.frame(at / kPageSize)) + at % kPageSize);
        at += piece.iov_len;
      }
      REQUIRE(at == skip + length);
    }
  }
}

TEST_CASE("page_refs: only the pages that hold lent bytes cool", "[cache][page_refs]") {
  auto arena = make_arena(1);
  PageRefs pages(arena.get());
  for (const FrameRun run : allocate(*arena, 8)) pages.append(run);
  pages.mark_lent(kPageSize - 1, kPageSize + 2);  // the last byte of page 0, page 1, the first byte of page 2
  pages.reset();
  CHECK(arena->stats().frames_cooling == 3);
}

}  // namespace
}  // namespace sluice
