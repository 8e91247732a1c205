// The control socket: how `sluice status` and `sluice umount` find and ask a running gateway. A gateway listens at
// PID.sock in the control directory of its user; one request per connection ("status", "unmount", "stop", or "cache"
// with words after it, and a newline), one answer, end. An answer that begins with "error: " refuses. The answer to
// "cache" comes line by line, at least one a second, while the work goes on; it ends when the asker goes. That to
// "unmount" and "stop" begins with "stopping", and goes on when the gateway is through: lines of what went wrong, each
// with "error: ", and "ended".
//
//   /run/sluice                 root; others may look, the sockets are 0600
//   $XDG_RUNTIME_DIR/sluice     other users, 0700
//   /tmp/sluice-UID             ... without XDG_RUNTIME_DIR
//
// With --control PATH the socket is at PATH, and PID.sock a symbolic link to it. Sockets that refuse belong to gateways
// that were killed, and are removed by whoever meets them.
#pragma once

#include <sys/types.h>

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/result.h"
#include "cache/unique_fd.h"
#include "tools/complaint.h"

namespace sluice {

struct ControlUser {
  uid_t uid = 0;
  std::string runtime_directory;  // $XDG_RUNTIME_DIR of that user; empty: none
};
ControlUser current_control_user();
// The one whose gateways live elsewhere: the owner of a mount.
ControlUser control_user(uid_t uid);

std::string control_directory(const ControlUser& user);
// Makes the directory if it is not there. Refuses one that somebody else owns or can write to: it could hold a false
// gateway.
Checked<> make_control_directory(const std::string& path, uid_t uid);
Checked<> check_control_directory(const std::string& path, uid_t uid);

// Sends a line, without its newline. False when nobody listens any more.
using ControlReply = std::function<bool(std::string_view line)>;

struct ControlHandlers {                  // called on the control thread
  std::function<std::string()> status;    // one JSON object
  std::function<Result<void>()> unmount;  // then the gateway stops; EBUSY while the mount is in use
  std::function<void()> stop;             // returns at once; detaches a mount that is in use
  // The words after "cache". Called on a thread of its own, several at once.
  std::function<void(const std::vector<std::string>& words, const ControlReply& reply)> cache;
};

// Those who asked a gateway to end, and wait for how it does.
class Farewell {
 public:
  void add(UniqueFd connection);  // beyond a few, who came first hears no more
  void complain(std::string_view line) const;
  void ended() const;  // nothing is left to be said

 private:
  std::list<UniqueFd> connections_;
};

// Listens until destruction, which also removes the socket. Blocks no signal: start it with signals blocked.
class ControlServer {
 public:
  // `path` empty: PID.sock in the control directory.
  static Checked<std::unique_ptr<ControlServer>> open(const std::string& path, ControlHandlers handlers);
  virtual ~ControlServer() = default;
  virtual const std::string& path() const = 0;
  // Listens no longer, as if destroyed.
  virtual Farewell end() = 0;
  // Removes the socket, for a process that cannot end in order. Any thread.
  virtual void abandon() const = 0;
};

struct ControlAnswer {
  enum class Outcome { answered, refused, silent, forbidden, missing };
  Outcome outcome = Outcome::missing;
  pid_t pid = 0;     // of the listener, as the kernel says; 0: unknown
  std::string text;  // when answered
};
// How "unmount" is refused.
inline constexpr std::string_view kBusyAnswer = "error: busy\n";

// Waits at most 5 seconds.
ControlAnswer ask_gateway(const std::string& socket_path, std::string_view request);

// Asking a gateway to end: by "unmount" or "stop".
class EndRequest {
 public:
  // Waits for the first line, at most 5 seconds.
  EndRequest(const std::string& socket_path, std::string_view request);
  bool is_busy() const;
  // To be called when the process has ended. What went wrong, line by line; nothing when it did not get to say that.
  std::optional<std::vector<std::string>> last_words();

 private:
  UniqueFd connection_;
  std::string answer_;
};

// "cache" and these words; `on_line` gets each line of the answer. False when the gateway went silent or away.
bool ask_for_cache_work(const std::string& socket_path, const std::vector<std::string>& words,
                        const std::function<void(std::string_view line)>& on_line);

struct FoundGateway {
  std::string socket_path;
  ControlAnswer answer;  // to "status"; answered, silent or forbidden
};
// Asks every socket in the user's control directory, if it can be trusted. Removes sockets that refuse when they are
// ours.
std::vector<FoundGateway> find_gateways(const ControlUser& user);

}  // namespace sluice
