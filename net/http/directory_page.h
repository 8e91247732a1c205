// DirectoryPage makes the page of a directory, piece by piece: HTML for people, JSON for programs.
//
// The first kSortedMax entries are kept. When the directory ends there they are sorted, else they and all others come
// in the directory's own order, so that a page of any length needs no more memory. All sorted pages together have a
// budget; when that is used up, pages are not sorted.
//
// `step` blocks: for a thread of the worker pool, one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/store/store.h"

namespace sluice {

inline constexpr size_t kSortedMax = 10'000;

enum class PageSort : uint8_t { name, size, date };

struct PageOrder {
  PageSort by = PageSort::name;
  bool descending = false;
};
// What "sort=name|size|date&order=asc|desc" says; what it does not say, or says wrong, is by name, ascending.
PageOrder page_order_of(std::string_view query);

// Of all listings.
class PageBudget {
 public:
  explicit PageBudget(uint64_t bytes_max) : left_(static_cast<int64_t>(bytes_max)) {}
  bool take(uint64_t bytes);  // false: there is not so much
  void give_back(uint64_t bytes) { left_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> left_;
};

struct PageOptions {
  Store* store = nullptr;
  Caller caller;
  std::string path;  // "" or with a slash at its end
  std::string root;  // what clients know as the way to the export, "/" or "/prefix/"
  PageOrder order;
  bool json = false;
  bool dotfiles = true;  // false: names with a dot in front are left out
  PageBudget* budget = nullptr;
};

// How a page is written. Each appends to `text`.
class PageFormat {
 public:
  virtual ~PageFormat() = default;
  virtual void begin(bool is_sorted, std::string& text) = 0;
  virtual void entry(const ListedEntry& entry, std::string& text) = 0;
  virtual void end(std::string& text) = 0;
};
std::unique_ptr<PageFormat> make_html_page(const PageOptions& options);
std::unique_ptr<PageFormat> make_json_page();

class DirectoryPage {
 public:
  explicit DirectoryPage(PageOptions options);
  ~DirectoryPage();
  DirectoryPage(const DirectoryPage&) = delete;
  DirectoryPage& operator=(const DirectoryPage&) = delete;

  // Goes on a little. Appends the next piece of the page, some ten KiB; nothing while it still reads what is to be
  // sorted. Errors: those of Store::list_path and PathListing::read.
  Result<void> step(std::string& piece);
  bool done() const { return done_; }
  std::string_view content_type() const;

 private:
  Result<void> read_some();
  Result<void> collect();
  void release();

  const PageOptions options_;
  const std::unique_ptr<PageFormat> format_;
  std::unique_ptr<PathListing> directory_;  // null: not opened yet, or read to its end
  bool is_opened_ = false;
  bool is_collected_ = false;
  bool is_sorted_ = false;
  bool done_ = false;
  std::vector<ListedEntry> entries_;  // those that were read and not written
  size_t next_ = 0;                   // of them
  uint64_t reserved_bytes_ = 0;
};

}  // namespace sluice
