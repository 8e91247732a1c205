// Listings of directories by path, for exports.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <utility>

#include "fs/store/directory.h"
#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

// Listings of slow clients are no reason to be short of descriptors: of those for opens by path, one in so many.
constexpr uint32_t kShareOfPathFiles = 4;

std::unique_ptr<OpenDirectory> open_once(UniqueFd fd) {
  OpenDirectoryParts parts;
  parts.fd = std::move(fd);
  return make_open_directory(std::move(parts));
}

bool is_dot_or_dots(std::string_view name) {
  return name == "." || name == "..";
}

class StorePathListing final : public PathListing {
 public:
  using Show = std::function<Statx(const Statx&)>;
  StorePathListing(const Root* root, std::atomic<uint32_t>* open, Caller caller, std::string path, UniqueFd fd,
                   Show show)
      : root_(root),
        open_(open),
        caller_(std::move(caller)),
        path_(std::move(path)),
        fd_(fd.get()),
        directory_(open_once(std::move(fd))),
        show_(std::move(show)) {}
  ~StorePathListing() override { open_->fetch_sub(1, std::memory_order_relaxed); }

  Result<bool> read(size_t entries_max, std::vector<ListedEntry>& entries) override {
    const ActAs identity(caller_);
    TRY(identity.ready());
    bool is_full = false;
    size_t looked_at = 0;
    TRY(directory_->read(offset_, [&](const DirectoryEntry& entry) {
      is_full = looked_at++ == entries_max;
      if (is_full) return false;
      offset_ = entry.next_offset;
      if (is_dot_or_dots(entry.name)) return true;
      Result<Statx> attributes = look(std::string(entry.name));
      if (!attributes) return true;
      if (show_ && S_ISREG(attributes->stx_mode)) attributes = show_(*attributes);
      const bool is_directory = S_ISDIR(attributes->stx_mode);
      if (is_directory || S_ISREG(attributes->stx_mode))
        entries.push_back({std::string(entry.name), is_directory, attributes->stx_size, attributes->stx_mtime.tv_sec});
      return true;
    }));
    return is_full;
  }

 private:
  // Of what the entry leads to.
  Result<Statx> look(const std::string& name) const {
    const Statx attributes = TRY(root_->statx_entry(fd_, name.c_str()));
    if (!S_ISLNK(attributes.stx_mode)) return attributes;
    const UniqueFd target = TRY(root_->open_long_path(path_ + name, O_PATH, 0));
    return read_statx(target.get());
  }

  const Root* const root_;
  std::atomic<uint32_t>* const open_;
  const Caller caller_;
  const std::string path_;  // "" or with a slash at its end
  const int fd_;            // of directory_
  const std::unique_ptr<OpenDirectory> directory_;
  const Show show_;  // of files, with what delayed writes changed; may be empty
  uint64_t offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<PathListing>> StoreImpl::list_path(const Caller& caller, std::string_view path) {
  if (path.find('\0') != path.npos) return fail(EINVAL);
  std::string below(path);
  if (!below.empty() && !below.ends_with('/')) below += '/';
  UniqueFd fd = TRY(with_spare_descriptors([&]() -> Result<UniqueFd> {
    const ActAs identity(caller);
    TRY(identity.ready());
    return root_.open_path(below.empty() ? "." : below.c_str(), O_RDONLY | O_DIRECTORY, 0);
  }));
  const uint32_t open = path_listings_.fetch_add(1, std::memory_order_relaxed);
  if (open >= options_.path_files_max / kShareOfPathFiles) {
    path_listings_.fetch_sub(1, std::memory_order_relaxed);
    return fail(EMFILE);
  }
  StorePathListing::Show show;
  if (write_back_ != nullptr) {
    show = [this](const Statx& attributes) {
      return shown(table_.find_proven({attributes, {}, nullptr, ""}, 0), attributes);
    };
  }
  return std::make_unique<StorePathListing>(&root_, &path_listings_, caller, std::move(below), std::move(fd),
                                            std::move(show));
}

}  // namespace sluice
