// DirectReplies lets the thread that ran a call send its reply, while the loop has nothing to send to that client: the
// client does not wait until the loop has woken up.
#pragma once

#include <string>
#include <string_view>

#include "cache/mutex.h"

namespace sluice {

class DirectReplies {
 public:
  enum class Outcome {
    refused,  // not offered: the reply goes to the loop
    sent,     // the socket has all of it
    begun,    // the rest comes out of the next `revoke`
  };

  // On the loop's thread: nothing waits to be sent. The socket stays open until `revoke`.
  void offer(int socket);
  // On the loop's thread, before it sends or closes. Returns what must be sent first: the rest of a reply.
  std::string revoke();

  // Any thread.
  Outcome try_send(std::string_view reply);

 private:
  Mutex mutex_;  // Leaf lock; held during one send that does not block.
  int socket_ GUARDED_BY(mutex_) = -1;
  std::string rest_ GUARDED_BY(mutex_);
};

}  // namespace sluice
