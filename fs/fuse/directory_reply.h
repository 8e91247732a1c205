// DirectoryReply packs directory entries as the kernel reads them: readdir's (name, type, number) or readdirplus's,
// which carry attributes and a lookup reference as well. Whether an entry fits is known from its name alone, before it
// is looked up.
#pragma once

#include <string>
#include <vector>

#include "fs/fuse/libfuse.h"
#include "fs/store/store.h"

namespace sluice {

// A DirectoryEntry that owns its name.
struct NamedEntry {
  explicit NamedEntry(const DirectoryEntry& entry)
      : name(entry.name), ino(entry.ino), type(entry.type), next_offset(entry.next_offset) {}
  DirectoryEntry entry() const { return {name, ino, type, next_offset}; }
  std::string name;
  uint64_t ino;
  uint8_t type;
  uint64_t next_offset;
};

class DirectoryReply {
 public:
  enum class Format { plain, plus };

  // `size`: of the kernel's buffer, in bytes.
  DirectoryReply(Format format, size_t size) : format_(format), bytes_(size, '\0') {}

  // Bytes that an entry of this name takes in format plus.
  static size_t plus_size(const std::string& name);
  // Without attributes and without a reference, in either format. False: it does not fit.
  bool add(const DirectoryEntry& entry);
  // Format plus: with what a lookup said, and its reference. It must fit.
  void add(const NamedEntry& entry, const fuse_entry_param& found);

  std::string_view bytes() const { return {bytes_.data(), used_}; }

 private:
  size_t room() const { return bytes_.size() - used_; }

  const Format format_;
  std::string bytes_;
  size_t used_ = 0;
};

}  // namespace sluice
