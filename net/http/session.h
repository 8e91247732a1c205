// HttpSession is one client's connection: it reads requests, one at a time, and answers each from the store. Further
// requests that arrive meanwhile (pipelining) wait in the connection's input.
//
// session.cc has the connection: input, deadlines, the end. session_answer.cc has what is answered.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "fs/store/store.h"
#include "net/connection.h"
#include "net/http/chunked.h"
#include "net/http/directory_page.h"
#include "net/http/multipart.h"
#include "net/http/request.h"
#include "net/http/response.h"
#include "net/peer_address.h"

namespace sluice {

class HttpWorker;

// What a request's path leads to.
struct HttpTarget {
  Store::OpenedPath opened;
  std::string path;  // the request's, or that of the index in it
};

class HttpSession final : public Connection {
 public:
  using List = std::list<std::shared_ptr<HttpSession>>;

  HttpSession(HttpWorker* worker, UniqueFd socket, const PeerAddress& peer);

  const PeerAddress& peer() const { return peer_; }
  bool idle() const { return state_ == State::idle; }
  void drain();  // finish the reply under way, then close

  List::iterator place;  // in the worker's list, for the worker

 private:
  // body: what is left of a request is skipped; in chunks before its answer, else after it.
  enum class State : uint8_t { idle, reading, body, answering };

  size_t on_input(std::string_view bytes) override;
  void on_input_end() override;
  void on_reply_starts() override;
  void on_reply_sent() override;
  void on_reply_lost(int error, bool begun) override;
  void on_progress() override;
  void on_waits(bool for_client) override;
  void on_timeout() override;
  void on_closed() override;

  void handle(std::string_view head);
  size_t skip_body(std::string_view bytes);
  void wait_for_body();
  void refuse_framing(HttpStatus status, std::string_view head);
  void log_access();
  void wait_for_progress();
  void on_slow_answer();
  void judge_client();
  void give_up_backing();
  void enter(State state);

  // What is answered.
  void answer_request();
  void open_elsewhere();
  void answer(Result<HttpTarget> target);
  void answer_directory();
  void add_slash(std::string_view path);
  void answer_file(std::string_view path, std::shared_ptr<OpenFile> file);
  void answer_parts(const FileAnswer& answer, MultipartOptions options);
  void refuse(Refusal what);
  void refuse(HttpStatus status) { refuse(Refusal{.status = status}); }
  void refuse_for(int error);
  void break_off();
  void start_sending(HttpStatus status, Reply reply);
  void send_more();
  void finish_answer();
  void list_more();
  void send_listing(Result<std::string> piece);
  ResponseContext context() const;
  template <typename Work, typename Done>
  void elsewhere(Work work, Done done);

  HttpWorker* const worker_;
  const PeerAddress peer_;
  State state_ = State::reading;
  size_t scanned_ = 0;  // of the head that is arriving
  // The body of the last request, to be skipped.
  uint64_t body_left_ = 0;
  std::unique_ptr<ChunkedBody> chunks_;  // null: it is not in chunks
  uint64_t body_taken_ = 0;
  std::chrono::nanoseconds body_began_at_{};
  bool keep_alive_ = true;

  // The request that is answered.
  std::string head_;                      // what request_ points into
  std::unique_ptr<HttpRequest> request_;  // null: none
  HttpStatus status_ = HttpStatus::ok;
  uint32_t attempts_ = 0;        // to answer it
  bool has_status_ = false;      // an answer was decided on
  uint64_t head_end_bytes_ = 0;  // of sent_bytes(), when its head is sent
  bool is_counted_ = false;
  bool has_begun_ = false;  // some of the answer was handed to the socket
  std::chrono::nanoseconds progress_at_{};
  // What the client takes of the answer, while the socket is full: since it was looked at first, and when it last took
  // any.
  std::chrono::nanoseconds watched_since_ = kNever;  // kNever: it is not watched
  uint64_t watched_from_bytes_ = 0;
  std::chrono::nanoseconds took_at_{};
  uint64_t took_bytes_ = 0;
  uint64_t tasks_ = 0;  // begun elsewhere; only the last one counts
  bool is_elsewhere_ = false;
  // What the answer still has to send, piece by piece. Null: nothing.
  std::unique_ptr<Multipart> multipart_;
  std::shared_ptr<DirectoryPage> page_;
};

}  // namespace sluice
