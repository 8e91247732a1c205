// FakeTree is a store of a few files and directories in memory, for tests of the NFS service without a backing. Files
// hold bytes of FakeStore's formula: what is written only makes them longer. Nothing is known without asking unless
// `knows`; it counts references, so that a test can say that none is left.
//
//   FakeTree tree;
//   const InodeNumber file = tree.make(kRootInode, "file", S_IFREG | 0644);
//   tree.fsync_error = EIO;                       // the next fsync of each file says so
//
// One thread at a time.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/net/fake_store.h"

namespace sluice {

class FakeTree final : public FakeStore {
 public:
  static constexpr uint64_t kFileBytes = 4 << 10;  // that a read gives at most
  static constexpr size_t kNodesMax = 64;

  FakeTree() { nodes_[kRootInode] = node_of(kRootInode, S_IFDIR | 0755); }

  InodeNumber make(InodeNumber parent, const std::string& name, mode_t mode) {
    const InodeNumber number = next_++;
    nodes_[number] = node_of(number, mode);
    nodes_.at(parent).children[name] = number;
    touch(parent);
    return number;
  }
  // Of all numbers that were given out.
  uint64_t references() const {
    uint64_t sum = 0;
    for (const auto& [number, count] : references_) sum += count;
    return sum;
  }

  uint64_t references_of(InodeNumber number) { return references_[number]; }
  FakeFile& file_of(InodeNumber number) { return *nodes_.at(number).file; }

  bool knows = false;
  int fsync_error = 0;              // once
  int write_error = 0;              // from now on
  uint64_t fsyncs = 0;              // so far
  std::vector<InodeNumber> synced;  // by themselves, not what was written to them
  uint64_t file_system_syncs = 0;
  std::function<void()> before_write;  // in the middle of each

  Result<Entry> lookup(InodeNumber parent, std::string_view name) override {
    TRY(check(parent, name));
    if (name == ".") return entry(parent);
    if (name == "..") return entry(kRootInode);
    const auto& children = nodes_.at(parent).children;
    const auto found = children.find(name);
    if (found == children.end()) return fail(ENOENT);
    return entry(found->second);
  }
  void forget(InodeNumber number, uint64_t references) override {
    ASSERT(references_[number] >= references);
    references_[number] -= references;
  }
  Result<Attributes> getattr(InodeNumber number) override {
    const auto found = nodes_.find(number);
    if (found == nodes_.end()) return fail(ESTALE);
    return Attributes{found->second.attributes, {}};
  }
  std::optional<Attributes> known_getattr(InodeNumber number) override {
    const auto known = getattr(number);
    return knows && known ? std::optional(*known) : std::nullopt;
  }
  bool is_known_to_permit(const Caller&, InodeNumber, int) override { return knows; }
  Result<struct ::statx> statx(InodeNumber number) override {
    const Attributes attributes = TRY(getattr(number));
    struct ::statx result {};
    result.stx_ctime.tv_sec = attributes.values.st_ctim.tv_sec;
    result.stx_nlink = static_cast<uint32_t>(attributes.values.st_nlink);
    return result;
  }
  Result<Attributes> setattr(const Caller&, InodeNumber number, const SetAttributes& changes) override {
    TRY(getattr(number));
    struct stat& now = nodes_.at(number).attributes;
    if (changes.size) {
      if (!S_ISREG(now.st_mode)) return fail(EINVAL);
      TRY(resize(number, *changes.size));
    }
    if (changes.mode) now.st_mode = (now.st_mode & S_IFMT) | (*changes.mode & 07777);
    if (changes.uid) now.st_uid = *changes.uid;
    if (changes.gid) now.st_gid = *changes.gid;
    for (const auto& time : {changes.atime, changes.mtime}) {
      if (time && time->tv_nsec > 999'999'999 && time->tv_nsec != UTIME_NOW) return fail(EINVAL);
    }
    if (changes.atime) now.st_atim = *changes.atime;
    if (changes.mtime) now.st_mtim = *changes.mtime;
    touch(number);
    return getattr(number);
  }
  Result<void> access(const Caller& caller, InodeNumber number, int mode) override {
    const Attributes attributes = TRY(getattr(number));
    const mode_t bits = attributes.values.st_mode >> (caller.uid == attributes.values.st_uid ? 6 : 0);
    if (caller.uid != 0 && (static_cast<mode_t>(mode) & ~bits & 7) != 0) return fail(EACCES);
    return {};
  }
  Result<std::string> readlink(InodeNumber number) override {
    const Attributes attributes = TRY(getattr(number));
    if (!S_ISLNK(attributes.values.st_mode)) return fail(EINVAL);
    return nodes_.at(number).target;
  }
  Result<Entry> mknod(const Caller&, InodeNumber parent, std::string_view name, mode_t mode, dev_t) override {
    return add_entry(parent, name, mode);
  }
  Result<Entry> mkdir(const Caller&, InodeNumber parent, std::string_view name, mode_t mode) override {
    return add_entry(parent, name, S_IFDIR | mode);
  }
  Result<Entry> symlink(const Caller&, InodeNumber parent, std::string_view name, std::string_view target) override {
    if (target.empty() || target.find('\0') != target.npos) return fail(EINVAL);
    const Entry made = TRY(add_entry(parent, name, S_IFLNK | 0777));
    nodes_.at(made.number).target = target;
    return made;
  }
  Result<Entry> link(const Caller&, InodeNumber number, InodeNumber parent, std::string_view name) override {
    TRY(check(parent, name));
    TRY(getattr(number));
    if (S_ISDIR(nodes_.at(number).attributes.st_mode)) return fail(EPERM);
    if (nodes_.at(number).attributes.st_nlink == 0) return fail(ENOENT);
    if (!nodes_.at(parent).children.emplace(name, number).second) return fail(EEXIST);
    ++nodes_.at(number).attributes.st_nlink;
    touch(parent);
    return entry(number);
  }
  Result<void> unlink(const Caller&, InodeNumber parent, std::string_view name) override {
    return remove(parent, name, false);
  }
  Result<void> rmdir(const Caller&, InodeNumber parent, std::string_view name) override {
    return remove(parent, name, true);
  }
  Result<void> rename(const Caller&, InodeNumber parent, std::string_view name, InodeNumber new_parent,
                      std::string_view new_name, unsigned) override {
    TRY(check(parent, name));
    TRY(check(new_parent, new_name));
    auto& from = nodes_.at(parent).children;
    const auto found = from.find(name);
    if (found == from.end()) return fail(ENOENT);
    const InodeNumber number = found->second;
    auto& to = nodes_.at(new_parent).children;
    if (const auto replaced = to.find(new_name); replaced != to.end()) {
      if (replaced->second == number) return {};
      TRY(remove(new_parent, new_name, S_ISDIR(nodes_.at(number).attributes.st_mode)));
    }
    from.erase(from.find(name));
    to[std::string(new_name)] = number;
    touch(parent);
    touch(new_parent);
    return {};
  }
  Result<std::string> persistent_handle(InodeNumber number) override {
    return std::string(reinterpret_cast<const char*>(&number), sizeof number);
  }
  Result<Entry> find_persistent(const std::string& handle) override {
    InodeNumber number = 0;
    if (handle.size() != sizeof number) return fail(ESTALE);
    std::memcpy(&number, handle.data(), sizeof number);
    if (!nodes_.contains(number) || nodes_.at(number).attributes.st_nlink == 0) return fail(ESTALE);
    return entry(number);
  }
  SeenInode remember(InodeNumber number) override { return {number, nodes_.at(number).changes}; }
  bool unchanged(std::span<const SeenInode> inodes) override {
    return std::ranges::all_of(inodes,
                               [&](const SeenInode& seen) { return nodes_.at(seen.number).changes == seen.changes; });
  }
  std::chrono::nanoseconds lifetime() const override { return std::chrono::seconds(1); }
  void observe(std::span<const InodeNumber> numbers, const std::function<void()>& change,
               std::span<Observed> observed) override {
    ASSERT(numbers.size() == observed.size());
    for (size_t i = 0; i < numbers.size(); ++i) observed[i].before = nodes_.at(numbers[i]).attributes;
    change();
    for (size_t i = 0; i < numbers.size(); ++i) observed[i].after = nodes_.at(numbers[i]).attributes;
  }
  Result<void> sync(InodeNumber number) override {
    synced.push_back(number);
    return {};
  }
  Result<void> sync_file_system() override {
    ++file_system_syncs;
    return {};
  }
  Result<struct statvfs> statfs(InodeNumber) override {
    struct statvfs info {};
    return info;
  }

  Result<std::unique_ptr<OpenFile>> open_file(const Caller&, InodeNumber number, int) override {
    const Attributes attributes = TRY(getattr(number));
    if (!S_ISREG(attributes.values.st_mode)) return fail(EINVAL);
    return std::make_unique<TreeFile>(this, number);
  }
  Result<Created> create(const Caller&, InodeNumber parent, std::string_view name, mode_t mode, int) override {
    const Entry made = TRY(add_entry(parent, name, S_IFREG | (mode & 07777)));
    return Created{made, std::make_unique<TreeFile>(this, made.number)};
  }
  Result<std::unique_ptr<OpenDirectory>> open_directory(const Caller&, InodeNumber number) override {
    const Attributes attributes = TRY(getattr(number));
    if (!S_ISDIR(attributes.values.st_mode)) return fail(ENOTDIR);
    return std::make_unique<TreeDirectory>(this, number);
  }

 private:
  struct Node {
    struct stat attributes {};
    std::map<std::string, InodeNumber, std::less<>> children;
    std::string target;
    FakeFile* file = nullptr;
    WriteErrors errors;
    uint32_t changes = 0;
  };

  class TreeData final : public Data {
   public:
    TreeData(FakeTree* tree, InodeNumber number)
        : Data(tree, tree->nodes_.at(number).file), tree_(tree), number_(number) {}
    void write(std::unique_ptr<PreparedWrite> filled, SetIdBits, Callback<void(Result<size_t>)> done) override {
      ASSERT(filled->missing() == 0);
      if (tree_->before_write) tree_->before_write();
      if (tree_->write_error != 0) return done(fail(tree_->write_error));
      const uint64_t end = filled->offset + filled->size;
      ASSERT(end <= INT64_MAX);
      struct stat& now = tree_->nodes_.at(number_).attributes;
      now.st_size = std::max(now.st_size, static_cast<off_t>(end));
      file_->size = std::min<uint64_t>(kFileBytes, static_cast<uint64_t>(now.st_size));
      tree_->touch(number_);
      done(filled->size);
    }
    Result<void> truncate(uint64_t size, SetIdBits) override { return tree_->resize(number_, size); }
    WriteErrors::Told known_write_errors() const override { return tree_->nodes_.at(number_).errors.at_open(); }
    Result<void> fsync(bool, WriteErrors::Told* told) override {
      ++tree_->fsyncs;
      WriteErrors& errors = tree_->nodes_.at(number_).errors;
      if (const int error = std::exchange(tree_->fsync_error, 0)) errors.note(error);
      if (const int error = errors.tell(told)) return fail(error);
      return {};
    }

   private:
    FakeTree* const tree_;
    const InodeNumber number_;
  };

  class TreeFile final : public OpenFile {
   public:
    TreeFile(FakeTree* tree, InodeNumber number)
        : tree_(tree), number_(number), data_(std::make_shared<TreeData>(tree, number)) {
      ++tree->open_files;
    }
    ~TreeFile() override { --tree_->open_files; }
    InodeNumber inode() const override { return number_; }
    int flags() const override { return 0; }
    FileData& data() override { return *data_; }
    std::shared_ptr<FileData> shared_data() override { return data_; }
    Result<void> fsync(bool) override { return {}; }
    Result<void> flush() override { return {}; }
    void read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
      data_->read(offset, length, std::move(done));
    }

   private:
    FakeTree* const tree_;
    const InodeNumber number_;
    const std::shared_ptr<TreeData> data_;
  };

  // An entry's offset is its place among the names, which are sorted.
  class TreeDirectory final : public OpenDirectory {
   public:
    TreeDirectory(FakeTree* tree, InodeNumber number) : tree_(tree), number_(number) {}
    Result<void> read(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) override {
      if (offset > INT64_MAX) return fail(EINVAL);
      const auto children = tree_->nodes_.at(number_).children;
      uint64_t place = 0;
      const auto show = [&](std::string_view name, InodeNumber number) {
        return place++ < offset || visit({.name = name, .ino = number, .type = 0, .next_offset = place});
      };
      if (!show(".", number_) || !show("..", kRootInode)) return {};
      for (const auto& [name, number] : children) {
        if (!show(name, number)) break;
      }
      return {};
    }
    Result<void> fsync(bool) override { return {}; }

   private:
    FakeTree* const tree_;
    const InodeNumber number_;
  };

  Node node_of(InodeNumber number, mode_t mode) {
    Node node;
    node.attributes.st_ino = number;
    node.attributes.st_mode = mode;
    node.attributes.st_nlink = 1;
    if (S_ISREG(mode)) {
      node.file = &add(std::to_string(number), {.size = kFileBytes});
      node.file->size = 0;
    }
    return node;
  }
  Result<void> check(InodeNumber parent, std::string_view name) const {
    const auto found = nodes_.find(parent);
    if (found == nodes_.end()) return fail(ESTALE);
    if (!S_ISDIR(found->second.attributes.st_mode)) return fail(ENOTDIR);
    if (name.empty() || found->second.attributes.st_nlink == 0) return fail(ENOENT);
    if (name.size() > 255) return fail(ENAMETOOLONG);
    if (name.find('/') != name.npos || name.find('\0') != name.npos) return fail(EINVAL);
    return {};
  }
  Entry entry(InodeNumber number) {
    ++references_[number];
    return {number, nodes_.at(number).attributes, {}};
  }
  void touch(InodeNumber number) {
    ++nodes_.at(number).changes;
    ++nodes_.at(number).attributes.st_ctim.tv_sec;
  }
  Result<Entry> add_entry(InodeNumber parent, std::string_view name, mode_t mode) {
    TRY(check(parent, name));
    if (name == "." || name == ".." || nodes_.at(parent).children.contains(name)) return fail(EEXIST);
    if (nodes_.size() >= kNodesMax) return fail(ENOSPC);
    return entry(make(parent, std::string(name), mode));
  }
  Result<void> remove(InodeNumber parent, std::string_view name, bool directory) {
    TRY(check(parent, name));
    auto& children = nodes_.at(parent).children;
    const auto found = children.find(name);
    if (found == children.end()) return fail(name == "." || name == ".." ? EINVAL : ENOENT);
    Node& node = nodes_.at(found->second);
    if (S_ISDIR(node.attributes.st_mode) != directory) return fail(directory ? ENOTDIR : EISDIR);
    if (!node.children.empty()) return fail(ENOTEMPTY);
    --node.attributes.st_nlink;
    touch(found->second);
    touch(parent);
    children.erase(found);
    return {};
  }
  Result<void> resize(InodeNumber number, uint64_t size) {
    if (size > INT64_MAX) return fail(EFBIG);
    Node& node = nodes_.at(number);
    node.attributes.st_size = static_cast<off_t>(size);
    node.file->size = std::min<uint64_t>(kFileBytes, size);
    touch(number);
    return {};
  }

  std::map<InodeNumber, Node> nodes_;
  std::map<InodeNumber, uint64_t> references_;
  InodeNumber next_ = kRootInode + 1;
};

}  // namespace sluice
