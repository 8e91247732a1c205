// A block cache above a FakeSource, with one file in it, and the calls that its tests make again and again.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/block_cache.h"
#include "tests/support/catch.h"
#include "tests/support/fake_disk.h"
#include "tests/support/manual_clock.h"

namespace sluice {

struct CacheFixture {
  // `options` get the fixture's clock.
  CacheFixture(uint64_t file_size, BlockCacheOptions options)
      : source(std::make_shared<FakeSource>(FakeSourceOptions{.size = file_size, .seed = 7})) {
    options.clock = &clock;
    cache = *BlockCache::create(options);
    file = cache->add_file(42);
  }
  ~CacheFixture() { source->run_all(); }

  CacheRead request(PageRange pages, uint32_t generation = 1) const {
    return {.file = file.get(), .generation = generation, .size = source->size(), .pages = pages, .source = source};
  }
  // Starts a read; the result lands in the returned box.
  std::shared_ptr<std::optional<Result<PageRefs>>> start(PageRange pages, uint32_t generation = 1) {
    auto box = std::make_shared<std::optional<Result<PageRefs>>>();
    cache->read(request(pages, generation), [box](Result<PageRefs> result) { box->emplace(std::move(result)); });
    return box;
  }
  Result<PageRefs> read(PageRange pages, uint32_t generation = 1) {
    auto box = start(pages, generation);
    source->run_all();
    REQUIRE(box->has_value());
    return std::move(**box);
  }
  std::string bytes(const PageRefs& pages, uint64_t length) const {
    std::vector<iovec> parts;
    pages.append_iovecs(0, length, parts);
    std::string all;
    for (const iovec& part : parts) all.append(static_cast<char*>(part.iov_base), part.iov_len);
    return all;
  }
  bool shows(const PageRefs& pages, PageRange range, uint64_t stamp = 0) const {
    if (pages.pages() != range.count) return false;
    const uint64_t offset = range.first * kPageSize;
    const std::string all = bytes(pages, std::min(range.count * kPageSize, source->size() - offset));
    return source->shows(offset, all.data(), all.size(), stamp);
  }
  PageRefs written(PageRange range, uint64_t stamp) const {
    PageRefs pages = cache->allocate(range.count);
    REQUIRE(pages.pages() == range.count);
    for (uint64_t i = 0; i < range.count; i++) {
      source->fill((range.first + i) * kPageSize, cache->arena().address(pages.frame(i)), kPageSize, stamp);
    }
    return pages;
  }

  ManualClock clock;
  std::shared_ptr<FakeSource> source;
  std::unique_ptr<BlockCache> cache;
  std::shared_ptr<CachedFile> file;
};

}  // namespace sluice
