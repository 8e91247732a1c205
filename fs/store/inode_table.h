// InodeTable gives files their numbers. One Inode per file that a front end knows, that is open, or that has cached
// blocks; found by number and by what identifies the file on the backing. Numbers are never used again.
//
// Cost: 280 bytes per inode, measured over 1,000,000. No descriptor is kept here.
//
// Thread-safe. The mutex is held across short calls of FileData and of the cache (add_file), never across a system
// call.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cache/mutex.h"
#include "cache/result.h"
#include "fs/store/file_data.h"
#include "fs/store/file_handle.h"
#include "fs/store/path.h"
#include "fs/store/types.h"

namespace sluice {

// Tells one file of the backing from every other, also from one that gets its inode number after it.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t ino = 0;
  uint64_t incarnation = 0;  // birth time in ns; without one a hash of the handle; 0: number reuse cannot be told
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

FileIdentity identity_of(const Statx& attributes, const FileHandle& handle);
inline bool has_birth_time(const Statx& attributes) {
  return (attributes.stx_mask & STATX_BTIME) != 0;
}

struct Inode;
using InodeRef = std::shared_ptr<Inode>;

// Where a file was last seen.
struct Place {
  InodeRef parent;
  std::string name;
};

struct Inode {
  Inode(InodeNumber number, const FileIdentity& identity, const FileHandle& handle, mode_t mode)
      : number(number), identity(identity), handle(handle), is_directory(S_ISDIR(mode)) {}

  const InodeNumber number;
  const FileIdentity identity;
  const FileHandle handle;  // empty: the file is found by its place
  const bool is_directory;

  // Guarded by the table.
  uint64_t references = 0;         // of front ends
  std::shared_ptr<FileData> data;  // regular files, from an open on, as long as there is a use for it
  std::unique_ptr<Stamp> left;     // of the data that was dropped
  std::unique_ptr<Place> place;    // none: no name leads to it that we know of
  bool nameless = false;           // made without a name, and has none yet: gone with the last reference
  bool proven = false;             // the identity alone is proof enough: no second file can have it
  bool current = true;             // false: the file is gone or no longer the one of this identity
  bool queued = false;             // in the sweep's queue
};

// A file as it was just found.
struct FoundFile {
  const Statx& attributes;
  const FileHandle& handle;
  const InodeRef& parent;  // may be null: place unknown
  std::string_view name;
};

class InodeTable {
 public:
  // `clock`: of birth times.
  // `finds_handles`: find_handle works, for 40 bytes more per inode.
  InodeTable(FileDataContext* context, const StampClock& clock, bool finds_handles)
      : context_(context), clock_(clock), finds_handles_(finds_handles) {}

  InodeRef find(InodeNumber number) const;
  InodeRef find_handle(const FileHandle& handle) const;
  // Only what identity proves: null also for an inode born so recently that its handle must be compared. Adds
  // `references`. Updates the place.
  InodeRef find_proven(const FoundFile& file, uint64_t references);
  // Only when the handle is the same too.
  InodeRef find_same(const FoundFile& file) const;
  // Finds or adds. An inode of the same identity and another handle loses the identity.
  InodeRef intern(const FoundFile& file, uint64_t references);

  void reference(const InodeRef& inode);  // one more
  // One more for an inode that is known to be at this place. Null: it or its parent is gone.
  InodeRef find_at(InodeNumber number, InodeNumber parent, std::string_view name);
  // Gives back references. Returns the inode if it left the table, so that the caller lets go of what else belongs to
  // it.
  InodeRef forget(InodeNumber number, uint64_t references);
  // Drops what nobody knows, has open, or has cached any more; looks at no more than `inodes_max` of the candidates.
  std::vector<InodeRef> sweep(size_t inodes_max);
  // Gives back what the tables need no more, now that they hold less: a hash table never shrinks by itself.
  void shrink();
  // The file is gone (deleted, or its handle says ESTALE): whoever finds this identity again finds a new file.
  // True: front ends still refer to the inode.
  bool retire(const InodeRef& inode);
  bool is_current(const InodeRef& inode) const;  // not retired
  void set_nameless(const InodeRef& inode);      // until it gets a place

  // The inode's data; null when there is none.
  std::shared_ptr<FileData> data(const InodeRef& inode) const;
  struct MadeData {
    std::shared_ptr<FileData> data;
    bool is_new = false;
    std::optional<Stamp> left;  // of what it had before, if it is new
  };
  MadeData make_data(const InodeRef& inode);
  // Drops the data that nobody has open, or cached, or needs otherwise, of inodes that stay because the kernel knows
  // them. Looks at some of all inodes each time, at all of them in kDataRounds times.
  static constexpr size_t kDataRounds = 30;
  void drop_unused_data();

  // Some of those that are pinned, other ones each time: as long as they are, they stay.
  std::vector<InodeRef> some_pinned(size_t inodes_max);

  // Inodes with data.
  std::vector<InodeRef> with_data() const;

  // Path from the root by where the file was last seen, "." for the root itself. Errors: ESTALE (place unknown).
  Result<std::string> path_of(const InodeRef& inode) const;
  // The names that path_of goes down by, the file's own first; as far as they are known.
  std::vector<std::pair<InodeNumber, std::string>> names_on_way_to(const InodeRef& inode) const;
  InodeRef parent_of(const InodeRef& inode) const;
  std::optional<Place> place_of(const InodeRef& inode) const;  // where it was last seen
  void set_place(const InodeRef& inode, const InodeRef& parent, std::string_view name);
  void clear_place(const InodeRef& inode, const InodeRef& parent, std::string_view name);

  uint64_t size() const;

 private:
  struct NumberHash {
    using is_transparent = void;
    size_t operator()(InodeNumber number) const noexcept { return number; }
    size_t operator()(const InodeRef& inode) const noexcept { return inode->number; }
  };
  struct NumberEqual {
    using is_transparent = void;
    bool operator()(const InodeRef& a, const InodeRef& b) const { return a->number == b->number; }
    bool operator()(const InodeRef& a, InodeNumber b) const { return a->number == b; }
    bool operator()(InodeNumber a, const InodeRef& b) const { return a == b->number; }
  };
  // Not noexcept, these two: then libstdc++ keeps the hash beside the inode, where malloc has room for it, and does not
  // look at others.
  struct IdentityHash {
    using is_transparent = void;
    size_t operator()(const FileIdentity& identity) const;
    size_t operator()(const Inode* inode) const { return (*this)(inode->identity); }
  };
  struct IdentityEqual {
    using is_transparent = void;
    bool operator()(const Inode* a, const Inode* b) const { return a->identity == b->identity; }
    bool operator()(const Inode* a, const FileIdentity& b) const { return a->identity == b; }
    bool operator()(const FileIdentity& a, const Inode* b) const { return a == b->identity; }
  };

  struct HandleHash {
    using is_transparent = void;
    size_t operator()(const FileHandle& handle) const { return handle.hash(); }
    size_t operator()(const Inode* inode) const { return inode->handle.hash(); }
  };
  struct HandleEqual {
    using is_transparent = void;
    bool operator()(const Inode* a, const Inode* b) const { return a->handle == b->handle; }
    bool operator()(const Inode* a, const FileHandle& b) const { return a->handle == b; }
    bool operator()(const FileHandle& a, const Inode* b) const { return a == b->handle; }
  };

  InodeRef find_locked(InodeNumber number) const REQUIRES(mutex_);
  void add_references(const InodeRef& inode, uint64_t references) REQUIRES(mutex_);
  void set_place_locked(const InodeRef& inode, const InodeRef& parent, std::string_view name) REQUIRES(mutex_);
  static bool is_needed(const FileData& data);
  bool is_droppable(const InodeRef& inode) const REQUIRES(mutex_);
  void erase(const InodeRef& inode) REQUIRES(mutex_);
  bool is_born_long_ago(const Statx& attributes) const;

  FileDataContext* const context_;
  const StampClock clock_;
  const bool finds_handles_;
  mutable Mutex mutex_;
  InodeNumber next_number_ GUARDED_BY(mutex_) = kRootInode;
  std::unordered_set<InodeRef, NumberHash, NumberEqual> by_number_ GUARDED_BY(mutex_);
  size_t next_bucket_ GUARDED_BY(mutex_) = 0;         // of by_number_, for drop_unused_data
  size_t next_pinned_bucket_ GUARDED_BY(mutex_) = 0;  // ... and for some_pinned
  std::unordered_set<Inode*, IdentityHash, IdentityEqual> by_identity_ GUARDED_BY(mutex_);
  std::unordered_set<Inode*, HandleHash, HandleEqual> by_handle_ GUARDED_BY(mutex_);  // if it finds handles
  std::deque<InodeNumber> sweep_queue_ GUARDED_BY(mutex_);  // without references when they entered
};

}  // namespace sluice
