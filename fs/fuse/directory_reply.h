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
  std::string name;
  uint64_t ino;
  uint8_t type;
  uint64_t next_offset;
};

class DirectoryReply {
 public:
  enum class Format { plain, plus };

  // `size`: of the kernel's buffer, in bytes.
  DirectoryReply(Format format, size_t size) : format_(format), size_(size) { bytes_.reserve(size); }

  // Bytes that an entry of this name takes.
  static size_t entry_size(Format format, const std::string& name);
  // Without attributes and without a reference, in either format. It must fit.
  void add(const NamedEntry& entry);
  // Format plus: with what a lookup said, and its reference. It must fit.
  void add(const NamedEntry& entry, const fuse_entry_param& found);

  const std::string& bytes() const { return bytes_; }

 private:
  char* extend(const std::string& name);

  const Format format_;
  const size_t size_;
  std::string bytes_;
};

}  // namespace sluice
