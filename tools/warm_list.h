// The list of what was cached, as a file that outlives the gateway. Text, so that a person can look at it:
//
//   sluice-warm-list 1
//   file INO BIRTH_NS SIZE MTIME_NS CTIME_NS HANDLE PATH
//   pages 0-15,40,48-63
//
// HANDLE is in hexadecimal, "-" when there is none; PATH is below the source, with blanks, control characters and
// percent signs as %XX, "-" when it is not known. Pages are of 4 KiB.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/store/store.h"
#include "tools/complaint.h"

namespace sluice {

std::string print_warm_list(const std::vector<CachedContent>& content);

struct WarmList {
  std::vector<CachedContent> contents;
  std::string damage;  // the line behind them that is none, and why. Empty: there is no such line
};
// Nothing is an empty list. Complaints: the text was never a list.
Checked<WarmList> parse_warm_list(std::string_view text);

// Replaces the file at once or not at all. It is for its owner only: it names files.
Checked<> save_warm_list(const std::string& path, const std::vector<CachedContent>& content);
// Empty when there is no such file. Of a damaged list, what precedes the damage, and a line in the log: a gateway
// starts without what it was to remember. Complaints: the file is something else.
Checked<std::vector<CachedContent>> load_warm_list(const std::string& path);

}  // namespace sluice
