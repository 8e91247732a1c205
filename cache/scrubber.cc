#include "cache/scrubber.h"

#include <pthread.h>

#include <algorithm>

namespace sluice {
namespace {

constexpr std::chrono::nanoseconds kInterval = std::chrono::seconds(1);
constexpr uint64_t kStepPlacesMax = 1024;  // 64 MiB, some 5 ms
constexpr int kRest = 99;                  // times as long as a step took

}  // namespace

Scrubber::Scrubber(BlockCache* cache, const ScrubberOptions& options)
    : cache_(cache), options_(options), last_(options.clock->monotonic()) {}

Scrubber::~Scrubber() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Scrubber::start() {
  thread_ = std::thread([this] { run(); });
}

std::chrono::nanoseconds Scrubber::step() {
  const std::chrono::nanoseconds now = options_.clock->monotonic();
  const double passes =
      static_cast<double>((now - last_).count()) / static_cast<double>(std::max<int64_t>(options_.period.count(), 1));
  last_ = now;
  // What could not be done in time is not made up for.
  due_ = std::min(due_ + passes * static_cast<double>(places_), static_cast<double>(places_));
  const uint64_t places = std::min(static_cast<uint64_t>(due_), kStepPlacesMax);
  places_ = cache_->scrub(places);
  due_ -= static_cast<double>(places);
  const std::chrono::nanoseconds rest = kRest * (options_.clock->monotonic() - now);
  return due_ < 1 ? std::max(rest, kInterval) : rest;
}

void Scrubber::run() {
  ::pthread_setname_np(::pthread_self(), "sluice-scrub");
  while (true) {
    const std::chrono::nanoseconds rest = step();
    MutexLock lock(&mutex_);
    // Woken too early it does what is due.
    if (!stopping_) changed_.wait_for(mutex_, rest);
    if (stopping_) return;
  }
}

}  // namespace sluice
