// DirectSocket lets the thread that ran a call use its client's socket: it sends the reply while the loop has nothing
// to send, and receives the next call while the loop does not receive. The client waits neither for the loop to wake up
// nor for the loop to wake up another thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "cache/mutex.h"

namespace sluice {

class DirectSocket {
 public:
  enum class Outcome {
    refused,  // not offered: the reply goes to the loop
    sent,     // the socket has all of it
    begun,    // the rest comes out of the next `revoke_sending`
  };

  // On the loop's thread. Offered: nothing waits to be sent, or the loop does not receive. The socket stays open until
  // both are revoked; then its bytes are the loop's, which must send, or treat as received, first what they return.
  void offer_sending(int socket);
  std::string revoke_sending();
  void offer_receiving(int socket);
  std::string revoke_receiving();
  uint64_t records();  // received so far

  // Any thread.
  Outcome try_send(std::string_view reply);
  // Any thread, one at a time. The record (RFC 5531 section 11) that comes next, in one fragment, without its first
  // word; waits for it at most `wait`. None: not offered, nothing or only a part has come, or something that is not one
  // such record of at most `record_max` bytes that `accept` wants.
  std::optional<std::string> receive(std::chrono::nanoseconds wait, size_t record_max,
                                     const std::function<bool(std::string_view record)>& accept);

 private:
  enum class Arrival { part, record, other };
  bool wait_for_bytes(std::chrono::nanoseconds wait);
  bool take_bytes() REQUIRES(mutex_);
  Arrival look(size_t record_max) const REQUIRES(mutex_);

  Mutex mutex_;  // Leaf lock; held during one system call that does not block, and during `accept`.
  int sending_socket_ GUARDED_BY(mutex_) = -1;
  int receiving_socket_ GUARDED_BY(mutex_) = -1;
  std::string unsent_ GUARDED_BY(mutex_);
  std::string received_ GUARDED_BY(mutex_);
  uint64_t records_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice
