// What systemd is told of a gateway that it started with Type=notify: that it serves, what it is doing, that it ends.
// Says nothing when there is no $NOTIFY_SOCKET. See sd_notify(3), "Standalone implementation".
#pragma once

#include <string>
#include <string_view>

namespace sluice {

class ServiceManager {
 public:
  // Takes the socket's name from the environment, so that no child finds it there. Before the first thread.
  static ServiceManager from_environment();

  bool is_there() const { return !socket_.empty(); }
  void ready(std::string_view status) const;  // one line for `systemctl status`
  void stopping(std::string_view status) const;

 private:
  explicit ServiceManager(std::string socket) : socket_(std::move(socket)) {}
  void tell(const std::string& state) const;

  const std::string socket_;  // empty: nobody listens
};

}  // namespace sluice
