#include "net/send_turns.h"

#include <utility>

#include "net/send_path.h"

namespace sluice {

void SendTurns::look_at_turn() {
  if (std::exchange(turn_, loop_->turn()) != loop_->turn()) bytes_ = 0;
}

void SendTurns::sent(uint64_t bytes) {
  look_at_turn();
  bytes_ += bytes;
}

bool SendTurns::used_up() {
  look_at_turn();
  return bytes_ >= kTurnBytes;
}

void SendTurns::wait(std::shared_ptr<SendTicket> ticket) {
  waiting_.push_back(std::move(ticket));
  if (waiting_.size() == 1) loop_->post([self = shared_from_this()] { self->give(); });
}

// To those that waited longest. What they have not sent then waits behind the others.
void SendTurns::give() {
  std::deque<std::shared_ptr<SendTicket>> waiting;
  waiting.swap(waiting_);
  while (!waiting.empty() && !used_up()) {
    const std::shared_ptr<SendTicket> ticket = std::move(waiting.front());
    waiting.pop_front();
    if (ticket->path != nullptr) ticket->path->on_turn();
  }
  if (waiting.empty()) return;
  const bool is_posted = !waiting_.empty();
  for (auto& ticket : waiting_) waiting.push_back(std::move(ticket));
  waiting_.swap(waiting);
  if (!is_posted) loop_->post([self = shared_from_this()] { self->give(); });
}

}  // namespace sluice
