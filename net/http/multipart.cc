#include "net/http/multipart.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <utility>

#include "cache/assert.h"
#include "net/http/response.h"

namespace sluice {
namespace {

uint64_t random_number() {
  uint64_t number = 0;
  while (::getrandom(&number, sizeof number, 0) != sizeof number) {
  }
  return number;
}

}  // namespace

Multipart::Multipart(MultipartOptions options)
    : options_(std::move(options)), boundary_(fmt::format("{:020}", random_number())), length_(tail().size()) {
  for (const BytePart& part : options_.parts) length_ += head_of(part).size() + part.length;
}

std::string Multipart::content_type() const {
  return "multipart/byteranges; boundary=" + boundary_;
}

std::string Multipart::head_of(const BytePart& part) const {
  return fmt::format("\r\n--{}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n", boundary_, options_.content_type,
                     content_range(part, options_.size));
}

std::string Multipart::tail() const {
  return fmt::format("\r\n--{}--\r\n", boundary_);
}

Reply Multipart::next() {
  ASSERT(!done());
  const BytePart& part = options_.parts[next_++];
  Reply reply;
  reply.head = head_of(part);
  reply.file = options_.file;
  reply.watch = options_.watch;
  reply.offset = part.offset;
  reply.length = part.length;
  if (done()) reply.tail = tail();
  return reply;
}

}  // namespace sluice
