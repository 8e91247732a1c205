#include "fs/fuse/ring_entry.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

namespace sluice {
namespace {

constexpr size_t kPage = 4096;

size_t pages_up(size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

void RingEntry::place(const Owner& owner, char* memory, size_t payload_max) {
  owner_ = owner;
  buffers_[0] = {memory, sizeof(RingHeader)};
  buffers_[1] = {memory + kHeadSize, payload_max};
}

std::span<char> RingEntry::receive(uint64_t ours) {
  fuse_in_header in;
  ::memcpy(&in, header().message, sizeof(in));
  const size_t payload_size = header().lengths.payload_size;
  opcode_ = in.opcode;
  kernels_.store(in.unique, std::memory_order_relaxed);
  interrupted.store(false, std::memory_order_relaxed);
  ours_.store(ours, std::memory_order_release);
  request_ = {};
  if (in.len < sizeof(in) + payload_size || payload_size > buffers_[1].iov_len) return {};
  const size_t argument_size = in.len - sizeof(in) - payload_size;
  if (argument_size > kRingHeaderSize) return {};

  touch(payload_size);
  in.unique = ours;
  char* const argument = payload() - argument_size;
  ::memcpy(argument, header().argument, argument_size);
  ::memcpy(argument - sizeof(in), &in, sizeof(in));
  request_ = {argument - sizeof(in), in.len};
  return request_;
}

uint64_t RingEntry::number_of(uint64_t kernels) const {
  const uint64_t ours = ours_.load(std::memory_order_acquire);
  return ours != 0 && kernels_.load(std::memory_order_relaxed) == kernels ? ours : 0;
}

void RingEntry::reply(const iovec* parts, int count) {
  fuse_out_header out;
  ::memcpy(&out, parts[0].iov_base, sizeof(out));
  size_t size = 0;
  for (int i = 1; i < count; ++i) size += parts[i].iov_len;
  if (size > buffers_[1].iov_len) return reply_error(EIO);
  char* to = payload();
  for (int i = 1; i < count; ++i) {
    ::memcpy(to, parts[i].iov_base, parts[i].iov_len);
    to += parts[i].iov_len;
  }
  finish(out.error, size);
}

void RingEntry::reply_error(int error) {
  finish(-error, 0);
}

void RingEntry::finish(int error, size_t payload_size) {
  touch(payload_size);
  const fuse_out_header out{.len = static_cast<uint32_t>(sizeof(out) + payload_size),
                            .error = error,
                            .unique = kernels_.load(std::memory_order_relaxed)};
  ::memcpy(header().message, &out, sizeof(out));
  header().lengths.payload_size = static_cast<uint32_t>(payload_size);
}

void RingEntry::touch(size_t payload_size) {
  touched_ = std::max(touched_, kHeadSize + pages_up(payload_size));
}

void RingEntry::trim() {
  if (touched_ == 0) return;
  ::madvise(buffers_[0].iov_base, touched_, MADV_DONTNEED);
  touched_ = 0;
}

}  // namespace sluice
