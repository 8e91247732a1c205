// Multipart is the body of an answer to a request for several ranges: multipart/byteranges, as RFC 9110 section 14.6
// has it. It is sent piece by piece, each a small head and one range of the file, all under one watch of the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fs/store/store.h"
#include "net/http/range.h"
#include "net/send_path.h"

namespace sluice {

struct MultipartOptions {
  std::shared_ptr<OpenFile> file;
  std::shared_ptr<const ChangeWatch> watch;
  std::vector<BytePart> parts;
  uint64_t size = 0;              // of the file
  std::string_view content_type;  // of the file
};

class Multipart {
 public:
  explicit Multipart(MultipartOptions options);

  std::string content_type() const;
  uint64_t length() const { return length_; }
  bool done() const { return next_ == options_.parts.size(); }
  Reply next();  // the piece that is to be sent next

 private:
  std::string head_of(const BytePart& part) const;
  std::string tail() const;

  const MultipartOptions options_;
  const std::string boundary_;  // nobody can foresee it, so no file holds it
  uint64_t length_ = 0;
  size_t next_ = 0;
};

}  // namespace sluice
