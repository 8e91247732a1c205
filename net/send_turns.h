// SendTurns is what makes the paths of one loop fair: in each turn of the loop they send a few MiB of what is large,
// all together; the others go on in the next turns, one after the other. What is small asks nobody. So a request is
// answered within a millisecond however many downloads go on, or begin at once.
//
// Belongs to the loop's thread. Outlives its context while it has promised a turn.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "net/event_loop.h"

namespace sluice {

class SendPath;

struct SendTicket {  // what asynchronous work holds instead of the path
  SendPath* path;    // nullptr: it has gone
};

class SendTurns : public std::enable_shared_from_this<SendTurns> {
 public:
  // Less than a millisecond's work.
  static constexpr uint64_t kTurnBytes = 2 << 20;

  explicit SendTurns(EventLoop* loop) : loop_(loop) {}

  void sent(uint64_t bytes);
  bool used_up();
  // SendPath::on_turn will be called, in a later turn.
  void wait(std::shared_ptr<SendTicket> ticket);

 private:
  void give();
  void look_at_turn();

  EventLoop* const loop_;
  uint64_t turn_ = 0;  // of the loop, when somebody sent last
  uint64_t bytes_ = 0;
  std::deque<std::shared_ptr<SendTicket>> waiting_;
};

}  // namespace sluice
