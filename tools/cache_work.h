// What `sluice cache` asks a running gateway to do with files: warm, pin, unpin, evict, of a file or of all regular
// files below a directory. Symbolic links are not followed, what nobody may cross (mounts below the source) is left
// out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "fs/store/store.h"
#include "tools/complaint.h"

namespace sluice {

enum class CacheVerb { warm, pin, unpin, evict };
std::string_view cache_verb_name(CacheVerb verb);
std::optional<CacheVerb> find_cache_verb(std::string_view name);

struct CacheWork {
  CacheVerb verb = CacheVerb::warm;
  std::string path;        // below the source, "." for all of it
  uint64_t room = 0;       // bytes that warming may fill: the cache's size, less what is pinned
  uint64_t pin_limit = 0;  // bytes, for the complaint
};

struct CacheProgress {
  uint64_t files = 0;  // done
  uint64_t files_max = 0;
  uint64_t bytes = 0;  // done
  uint64_t bytes_max = 0;
  uint64_t files_left_out = 0;  // warm: for which there is no room
  uint64_t bytes_left_out = 0;
  uint64_t files_unchanged = 0;  // unpin: not pinned; evict: of which nothing was cached
  uint64_t files_failed = 0;
  std::string first_failure;  // "PATH: error"
};

// Blocks until the work is done. `go_on` hears of the progress several times a second; false ends the work early.
// Complaints change nothing: the path does not exist, pinned files would be more than half of the cache.
using GoOn = std::function<bool(const CacheProgress&)>;
Checked<CacheProgress> do_cache_work(Store& store, const CacheWork& work, const GoOn& go_on);

}  // namespace sluice
