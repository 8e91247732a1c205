#include <vector>

#include "tools/bench/contender.h"

namespace sluice {

std::span<const ContenderKind> contenders() {
  static const std::vector<ContenderKind> all = [] {
    std::vector<ContenderKind> kinds = {kSluiceContender, kListLruContender};
    kinds.insert(kinds.end(), rocksdb_contenders().begin(), rocksdb_contenders().end());
    return kinds;
  }();
  return all;
}

}  // namespace sluice
