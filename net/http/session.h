// HttpSession is one client's connection: it reads requests, one at a time, and answers each from the store. Further
// requests that arrive meanwhile (pipelining) wait in the connection's input.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "fs/store/store.h"
#include "net/connection.h"
#include "net/http/multipart.h"
#include "net/http/request.h"
#include "net/http/response.h"

namespace sluice {

class HttpWorker;

class HttpSession final : public Connection {
 public:
  using List = std::list<std::shared_ptr<HttpSession>>;

  HttpSession(HttpWorker* worker, UniqueFd socket);

  bool idle() const { return state_ == State::idle; }
  void drain();  // finish the reply under way, then close

  List::iterator place;  // in the worker's list, for the worker

 private:
  enum class State : uint8_t { idle, reading, answering };

  size_t on_input(std::string_view bytes) override;
  void on_input_end() override;
  void on_reply_sent() override;
  void on_reply_lost(int error, bool begun) override;
  void on_progress() override;
  void on_timeout() override;
  void on_closed() override;

  void handle(std::string_view head);
  void open_elsewhere();
  void answer(const HttpRequest& request, Result<Store::OpenedPath> opened);
  void answer_file(const HttpRequest& request, std::shared_ptr<OpenFile> file);
  void refuse(const HttpRequest& request, HttpStatus status, uint64_t size = 0);
  void refuse_for(const HttpRequest& request, int error);
  void refuse_framing(HttpStatus status);
  void answer_parts(const HttpRequest& request, const FileAnswer& answer, MultipartOptions options);
  void start_sending(HttpStatus status, Reply reply);
  void send_more();
  void finish_answer();
  void wait_for_progress();
  void on_slow_answer();
  void give_up_backing();
  ResponseContext context_of(const HttpRequest& request) const;
  void enter(State state);

  HttpWorker* const worker_;
  State state_ = State::reading;
  std::string head_;  // of the request that is answered: what its HttpRequest points into
  HttpStatus status_ = HttpStatus::ok;
  uint32_t attempts_ = 0;                 // to answer it
  bool has_begun_ = false;                // to be sent: earlier pieces of the answer were
  std::unique_ptr<Multipart> multipart_;  // what the answer still has to send; null: nothing
  uint64_t opens_ = 0;                    // begun elsewhere; only the last one counts
  bool is_opening_ = false;
  std::chrono::nanoseconds progress_at_{};
  size_t scanned_ = 0;      // of the head that is arriving
  uint64_t body_left_ = 0;  // of the last request, to be skipped
  bool keep_alive_ = true;
  bool close_gently_ = false;  // the client may still be sending what nobody will read
};

}  // namespace sluice
