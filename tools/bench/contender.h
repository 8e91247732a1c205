// A Contender is a cache in the benchmark: Sluice's own, and those that it is measured against. All hold the same 4 KiB
// pages under the same keys of 16 bytes (file, page) within the same budget, and none of them moves bytes: a page that
// is missing is taken in as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace sluice {

class Contender {
 public:
  virtual ~Contender() = default;
  // Does what a reader does: finds the page, holds it, lets it go; takes it in when it is missing. True for a hit. Any
  // thread.
  virtual bool read(uint64_t page) = 0;
};

struct ContenderKind {
  std::string_view name;
  std::unique_ptr<Contender> (*make)(uint64_t budget_bytes);
};
extern const ContenderKind kSluiceContender;
extern const ContenderKind kListLruContender;

// Sluice, going from the budget to half of it and back all the time until its end.
std::unique_ptr<Contender> make_resizing_sluice(uint64_t budget_bytes);

std::span<const ContenderKind> rocksdb_contenders();  // empty when built without RocksDB
std::span<const ContenderKind> contenders();          // all of them, Sluice first

}  // namespace sluice
