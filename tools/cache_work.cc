#include "tools/cache_work.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "cache/clock.h"
#include "cache/log.h"
#include "tools/pieces.h"

namespace sluice {
namespace {

constexpr std::chrono::milliseconds kReportPeriod{200};
constexpr std::array<std::pair<CacheVerb, std::string_view>, 4> kVerbs = {
    {{CacheVerb::warm, "warm"}, {CacheVerb::pin, "pin"}, {CacheVerb::unpin, "unpin"}, {CacheVerb::evict, "evict"}}};

// An inode that was looked up, known until this goes.
class Known {
 public:
  Known(Store* store, const Entry& entry) : store_(store), entry_(entry) {}
  Known(Known&& other) noexcept : store_(std::exchange(other.store_, nullptr)), entry_(other.entry_) {}
  Known& operator=(Known&& other) noexcept {
    std::swap(store_, other.store_);
    std::swap(entry_, other.entry_);
    return *this;
  }
  ~Known() {
    if (store_ != nullptr && number() != kRootInode) store_->forget(number(), 1);
  }

  InodeNumber number() const { return entry_.number; }
  mode_t mode() const { return entry_.attributes.st_mode; }
  uint64_t size() const { return static_cast<uint64_t>(entry_.attributes.st_size); }
  uint64_t backing_number() const { return entry_.attributes.st_ino; }

 private:
  Store* store_;
  Entry entry_;
};

struct File {
  Known known;
  std::string path;
  uint64_t position = 0;  // on the disk
};

class Worker {
 public:
  Worker(Store* store, const CacheWork& work, const GoOn& go_on) : store_(*store), work_(work), go_on_(go_on) {}

  Checked<CacheProgress> run() {
    Known found = TRY(find());
    if (S_ISDIR(found.mode())) {
      walk(found.number(), work_.path);
    } else if (S_ISREG(found.mode())) {
      add(std::move(found), work_.path);
    } else {
      return complain("'{}' is no file and no directory", work_.path);
    }
    if (work_.verb == CacheVerb::warm || work_.verb == CacheVerb::pin) sort_by_position();
    if (work_.verb == CacheVerb::pin) TRY(pin_all());
    if (work_.verb == CacheVerb::warm) leave_out();
    for (const File& file : files_) {
      if (!go_on()) break;
      if (const Result<void> treated = treat(file); !treated) fail(file.path, treated.error());
      progress_.files++;
    }
    progress_.bytes = bytes_ + pieces_.bytes();
    return progress_;
  }

 private:
  // ---- finding ----

  Checked<Known> find() {
    Known found(&store_, {kRootInode, {}});
    const auto attributes = store_.getattr(kRootInode);
    if (attributes) found = Known(&store_, {kRootInode, attributes->values});
    for (std::string_view rest = work_.path; !rest.empty();) {
      const std::string_view name = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      if (name.empty() || name == ".") continue;
      const auto entry = store_.lookup(found.number(), name);
      if (!entry) return complain("'{}': {}", work_.path, error_text(entry.error().number));
      found = Known(&store_, *entry);
    }
    return found;
  }

  void add(Known known, std::string path) {
    progress_.files_max++;
    progress_.bytes_max += known.size();
    files_.push_back({std::move(known), std::move(path)});
  }

  // Names first, so that no directory stays open while others are walked.
  void walk(InodeNumber directory, const std::string& path) {
    std::vector<std::string> names;
    const auto listing = store_.open_directory(gateway(), directory);
    const Result<void> listed =
        !listing ? tl::unexpected(listing.error()) : (*listing)->read(0, [&](const DirectoryEntry& entry) {
          if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
          return true;
        });
    if (!listed) fail(path, listed.error());
    for (const std::string& name : names) {
      if (!go_on()) return;
      const auto entry = store_.lookup(directory, name);
      if (!entry) continue;  // gone, or a mount below
      Known known(&store_, *entry);
      std::string below = path.empty() ? name : fmt::format("{}/{}", path, name);
      if (S_ISDIR(known.mode())) walk(known.number(), below);
      if (S_ISREG(known.mode())) add(std::move(known), std::move(below));
    }
  }

  // Disks like to be read from one end to the other; file systems that do not tell have numbers in about that order.
  void sort_by_position() {
    for (File& file : files_) {
      if (!go_on()) return;
      file.position = file.known.backing_number();
      const auto opened = open(file);
      if (opened) file.position = (*opened)->data().disk_position().value_or(file.position);
    }
    std::sort(files_.begin(), files_.end(), [](const File& a, const File& b) { return a.position < b.position; });
  }

  // Those that have no room beside the files before them.
  void leave_out() {
    uint64_t bytes = 0;
    const auto first_out = std::stable_partition(files_.begin(), files_.end(), [&](const File& file) {
      const uint64_t needed = round_up(file.known.size());
      const bool has_room = needed <= work_.room - bytes;
      if (has_room) bytes += needed;
      return has_room;
    });
    for (auto file = first_out; file != files_.end(); ++file) {
      progress_.files_left_out++;
      progress_.bytes_left_out += file->known.size();
    }
    progress_.files_max -= progress_.files_left_out;
    progress_.bytes_max -= progress_.bytes_left_out;
    files_.erase(first_out, files_.end());
  }

  // ---- treating ----

  // All or none.
  Checked<> pin_all() {
    for (auto file = files_.begin(); file != files_.end(); ++file) {
      const auto opened = open(*file);
      if (!opened) continue;  // told when it is read
      const bool was_pinned = (*opened)->data().is_pinned();
      const Result<void> pinned = (*opened)->data().pin();
      if (pinned && !was_pinned) pinned_.push_back(&*file);
      if (pinned || pinned.error().number != ENOSPC) continue;
      for (const File* done : pinned_) {
        if (const auto again = open(*done)) (*again)->data().unpin();
      }
      return complain(
          "'{}' has {} bytes in {} files; with what is pinned already that is more than half of the cache, {} "
          "bytes: unpin others, or make it larger with 'sluice cache resize'",
          work_.path, progress_.bytes_max, progress_.files_max, work_.pin_limit);
    }
    return {};
  }

  Result<void> treat(const File& file) {
    const auto opened = open(file);
    if (!opened) return tl::unexpected(opened.error());
    FileData& data = (*opened)->data();
    switch (work_.verb) {
      case CacheVerb::warm:
      case CacheVerb::pin: return read_all(data);
      case CacheVerb::unpin: return unpin(file, data);
      case CacheVerb::evict: return evict(data);
    }
    return {};
  }

  Result<void> unpin(const File& file, FileData& data) {
    if (!data.is_pinned()) {
      progress_.files_unchanged++;
      return {};
    }
    data.unpin();
    bytes_ += file.known.size();
    return {};
  }

  Result<void> evict(FileData& data) {
    const uint64_t evicted = data.evict();
    if (evicted == 0) progress_.files_unchanged++;
    bytes_ += evicted;
    return {};
  }

  Result<void> read_all(FileData& data) {
    const uint64_t size = data.version().stamp.size;
    for (uint64_t offset = 0; offset < size && go_on(); offset += Pieces::kBytes) {
      pieces_.read(data, offset, Pieces::kBytes);
    }
    return pieces_.wait();
  }

  static uint64_t round_up(uint64_t bytes) { return (bytes + kPageSize - 1) / kPageSize * kPageSize; }
  static Caller gateway() { return {.uid = ::geteuid(), .gid = ::getegid(), .groups = {}}; }
  Result<std::unique_ptr<OpenFile>> open(const File& file) {
    return store_.open_file(gateway(), file.known.number(), O_RDONLY);
  }

  // ---- telling ----

  void fail(const std::string& path, const Error& error) {
    if (error.number == ENOENT || error.number == ESTALE) return;  // deleted meanwhile
    if (progress_.files_failed++ == 0) progress_.first_failure = fmt::format("{}: {}", path, error_text(error.number));
  }

  bool go_on() {
    progress_.bytes = bytes_ + pieces_.bytes();
    const auto now = system_clock().monotonic();
    if (ended_ || now - reported_at_ < kReportPeriod) return !ended_;
    reported_at_ = now;
    ended_ = !go_on_(progress_);
    return !ended_;
  }

  Store& store_;
  const CacheWork& work_;
  const GoOn& go_on_;
  std::vector<File> files_;
  std::vector<const File*> pinned_;  // by us
  CacheProgress progress_;
  Pieces pieces_;
  uint64_t bytes_ = 0;  // done otherwise than by pieces
  std::chrono::nanoseconds reported_at_{};
  bool ended_ = false;
};

}  // namespace

std::string_view cache_verb_name(CacheVerb verb) {
  return kVerbs[static_cast<size_t>(verb)].second;
}

std::optional<CacheVerb> find_cache_verb(std::string_view name) {
  for (const auto& [verb, known] : kVerbs) {
    if (known == name) return verb;
  }
  return std::nullopt;
}

Checked<CacheProgress> do_cache_work(Store& store, const CacheWork& work, const GoOn& go_on) {
  return Worker(&store, work, go_on).run();
}

}  // namespace sluice
