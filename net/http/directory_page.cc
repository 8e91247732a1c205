#include "net/http/directory_page.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr size_t kReadAtOnce = 256;            // entries; each is a look at the backing
constexpr size_t kPieceBytes = 32 << 10;       // of the page, about
constexpr size_t kReadMax = kReadAtOnce * 16;  // in one step, when all that is read is left out

uint64_t size_of(const ListedEntry& entry) {
  return sizeof entry + entry.name.capacity();
}

bool comes_before(const ListedEntry& a, const ListedEntry& b, const PageOrder& order) {
  if (a.is_directory != b.is_directory) return a.is_directory;
  const ListedEntry& first = order.descending ? b : a;
  const ListedEntry& second = order.descending ? a : b;
  switch (order.by) {
    case PageSort::name: return first.name < second.name;
    case PageSort::size:
      if (!a.is_directory && a.size != b.size) return first.size < second.size;
      break;
    case PageSort::date:
      if (a.modified_s != b.modified_s) return first.modified_s < second.modified_s;
      break;
  }
  return a.name < b.name;
}

std::string_view parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return pair.substr(name.size() + 1);
  }
  return {};
}

}  // namespace

PageOrder page_order_of(std::string_view query) {
  PageOrder order;
  const std::string_view by = parameter(query, "sort");
  if (by == "size") order.by = PageSort::size;
  if (by == "date") order.by = PageSort::date;
  order.descending = parameter(query, "order") == "desc";
  return order;
}

bool PageBudget::take(uint64_t bytes) {
  const auto wanted = static_cast<int64_t>(bytes);
  if (left_.fetch_sub(wanted, std::memory_order_relaxed) >= wanted) return true;
  give_back(bytes);
  return false;
}

DirectoryPage::DirectoryPage(PageOptions options)
    : options_(std::move(options)), format_(options_.json ? make_json_page() : make_html_page(options_)) {}

DirectoryPage::~DirectoryPage() {
  release();
}

std::string_view DirectoryPage::content_type() const {
  return options_.json ? "application/json" : "text/html; charset=utf-8";
}

Result<void> DirectoryPage::step(std::string& piece) {
  ASSERT(!done_);
  if (!is_opened_) {
    directory_ = TRY(options_.store->list_path(options_.caller, options_.path));
    is_opened_ = true;
  }
  if (!is_collected_) {
    TRY(collect());
    if (!is_collected_) return {};
    format_->begin(is_sorted_, piece);
  }
  for (size_t read = 0; piece.size() < kPieceBytes;) {
    if (next_ < entries_.size()) {
      format_->entry(entries_[next_++], piece);
    } else if (directory_ != nullptr && read < kReadMax) {
      entries_ = {};
      next_ = 0;
      release();
      TRY(read_some());
      read += kReadAtOnce;
    } else {
      done_ = directory_ == nullptr;
      if (done_) format_->end(piece);
      break;
    }
  }
  return {};
}

Result<void> DirectoryPage::read_some() {
  const size_t before = entries_.size();
  if (!TRY(directory_->read(kReadAtOnce, entries_))) directory_.reset();
  if (options_.dotfiles) return {};
  const auto start = entries_.begin() + static_cast<std::ptrdiff_t>(before);
  entries_.erase(std::remove_if(start, entries_.end(), [](const ListedEntry& e) { return e.name.starts_with('.'); }),
                 entries_.end());
  return {};
}

Result<void> DirectoryPage::collect() {
  const size_t before = entries_.size();
  TRY(read_some());
  uint64_t bytes = 0;
  for (size_t i = before; i < entries_.size(); ++i) bytes += size_of(entries_[i]);
  const bool has_room = entries_.size() <= kSortedMax && options_.budget->take(bytes);
  if (has_room) reserved_bytes_ += bytes;
  if (has_room && directory_ != nullptr) return {};
  is_collected_ = true;
  is_sorted_ = has_room;
  if (is_sorted_) {
    std::sort(entries_.begin(), entries_.end(),
              [this](const ListedEntry& a, const ListedEntry& b) { return comes_before(a, b, options_.order); });
  }
  return {};
}

void DirectoryPage::release() {
  options_.budget->give_back(std::exchange(reserved_bytes_, 0));
}

}  // namespace sluice
