// Preconditions of RFC 9110 section 13: does the client have this version already, or insist on another one?
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/store/file_data.h"
#include "net/http/request.h"

namespace sluice {

// What identifies one version of a file to clients.
struct Validators {
  std::string etag;          // with its quotes; weak (W/"...") when the version is not trustworthy
  bool trustworthy = false;  // else a later content could bear the same validators, so they match nothing
  int64_t modified_s = 0;    // since 1970
};
Validators validators_of(const FileVersion& version);

enum class Verdict : uint8_t { send, not_modified, failed };
Verdict check_preconditions(const HttpRequest& request, const Validators& validators);

// Whether the Range field counts: no If-Range, or one that names exactly this version.
bool range_counts(const HttpRequest& request, const Validators& validators);

}  // namespace sluice
