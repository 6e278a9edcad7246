//! An upstream model on a bare socket: it can say anything, in any pieces, and stop anywhere.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use socket2::SockRef;

use super::contract;

/// One thing that an upstream does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes over and over until the other side is gone.
    Flood(Vec<u8>),
    /// The same, a little at a time.
    Drip(Vec<u8>),
    /// Says nothing more until the other side is gone.
    Hang,
    /// Waits for [`Upstream::go_on`].
    Wait,
    /// Ends the connection in order.
    Close,
    /// Breaks it.
    Reset,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Value,
    /// The same as it was sent.
    pub(crate) bytes: Vec<u8>,
    /// Which connection it came on.
    pub(crate) connection: usize,
}

impl Asked {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The line `user`, `assistant` or `system` of each message.
    pub(crate) fn roles(&self) -> Vec<&str> {
        let messages = self.body["messages"].as_array().unwrap();
        messages.iter().map(|message| message["role"].as_str().unwrap()).collect()
    }

    /// The passages that came with the question.
    pub(crate) fn passages(&self) -> Vec<Value> {
        let last = self.body["messages"].as_array().unwrap().last().unwrap();
        let first_line = last["content"].as_str().unwrap().lines().next().unwrap();
        let passages: Value = serde_json::from_str(first_line).unwrap();
        passages["passages"].as_array().unwrap().clone()
    }
}

type Script = Box<dyn Fn(&Asked) -> Vec<Act> + Send>;

/// See the module. Ends with the process.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    hung_up: AtomicUsize,
    passes: Mutex<usize>,
    passed: Condvar,
    /// Nobody is there: connections break at once.
    is_dead: AtomicBool,
}

impl Upstream {
    /// Answers every request with these acts, until told otherwise.
    pub(crate) fn that(acts: Vec<Act>) -> Self {
        Self::at("127.0.0.1:0", acts).unwrap()
    }

    /// The same at that address, unless it is taken.
    pub(crate) fn at(address: &str, acts: Vec<Act>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(move |_| acts.clone())),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            hung_up: AtomicUsize::new(0),
            passes: Mutex::new(0),
            passed: Condvar::new(),
            is_dead: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (shared, number) =
                    (Arc::clone(&accepting), accepting.connections.fetch_add(1, Ordering::SeqCst));
                thread::spawn(move || shared.serve(socket, number));
            }
        });
        Ok(Self { address, shared })
    }

    /// From now on: these acts for every request.
    pub(crate) fn now(&self, acts: Vec<Act>) {
        self.by(move |_| acts.clone());
    }

    /// From now on: these acts in turn, the last for ever.
    pub(crate) fn then(&self, scripts: Vec<Vec<Act>>) {
        let at = AtomicUsize::new(0);
        self.by(move |_| scripts[at.fetch_add(1, Ordering::SeqCst).min(scripts.len() - 1)].clone());
    }

    /// From now on: what the request makes of it.
    pub(crate) fn by(&self, script: impl Fn(&Asked) -> Vec<Act> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// Lets one [`Act::Wait`] go on.
    pub(crate) fn go_on(&self) {
        *self.shared.passes.lock().unwrap() += 1;
        self.shared.passed.notify_all();
    }

    /// From now on every connection breaks before a request on it is taken; or it is well again.
    pub(crate) fn is_dead(&self, is_dead: bool) {
        self.shared.is_dead.store(is_dead, Ordering::SeqCst);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many requests so far.
    pub(crate) fn times(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often the other side closed the connection while this one was at something.
    pub(crate) fn hung_up(&self) -> usize {
        self.shared.hung_up.load(Ordering::SeqCst)
    }
}

/// What webhooks were sent is held to the published document once the test is through with it.
impl Drop for Upstream {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let asked = self.shared.asked.lock().unwrap().clone();
        asked
            .iter()
            .filter(|one| one.header("webhook-id").is_some())
            .for_each(|one| contract::hold_webhook(&one.body));
    }
}

impl Shared {
    fn serve(&self, socket: TcpStream, connection: usize) {
        socket.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        while let Some(asked) = request(&mut reader, connection) {
            if self.is_dead.load(Ordering::SeqCst) {
                self.act(Act::Reset, &socket);
                return;
            }
            self.asked.lock().unwrap().push(asked.clone());
            let acts = (self.script.lock().unwrap())(&asked);
            for act in acts {
                if !self.act(act, &socket) {
                    return;
                }
            }
        }
    }

    /// Says whether the connection goes on.
    fn act(&self, act: Act, mut socket: &TcpStream) -> bool {
        match act {
            Act::Send(bytes) => socket.write_all(&bytes).is_ok(),
            Act::Flood(bytes) => {
                while socket.write_all(&bytes).is_ok() {}
                self.note_hang_up()
            }
            Act::Drip(bytes) => {
                while socket.write_all(&bytes).is_ok() {
                    thread::park_timeout(Duration::from_millis(10));
                }
                self.note_hang_up()
            }
            Act::Hang => {
                while let Ok(1..) = socket.read(&mut [0; 1024]) {}
                self.note_hang_up()
            }
            Act::Wait => {
                let passes = self.passes.lock().unwrap();
                *self.passed.wait_while(passes, |passes| *passes == 0).unwrap() -= 1;
                true
            }
            Act::Close => {
                let _ = socket.shutdown(Shutdown::Both);
                false
            }
            Act::Reset => {
                // Closing with a linger of nought sends RST. The reader holds the socket too, and goes with this thread.
                SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
                false
            }
        }
    }

    fn note_hang_up(&self) -> bool {
        self.hung_up.fetch_add(1, Ordering::SeqCst);
        false
    }
}

/// Reads one request; `None` once the other side is gone.
fn request(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Asked> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let parsed = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Asked { head, body: parsed, bytes: body, connection })
}

/// The head of an answer.
pub(crate) fn head(status: &str, headers: &[&str]) -> Act {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    Act::Send(format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes())
}

/// The head of a stream in chunks.
pub(crate) fn stream_head() -> Act {
    head("200 OK", &["Content-Type: text/event-stream", "Transfer-Encoding: chunked"])
}

/// A chunk of a stream.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Act {
    let bytes = bytes.as_ref();
    Act::Send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// The end of a stream in chunks.
pub(crate) fn end() -> Act {
    Act::Send(b"0\r\n\r\n".to_vec())
}

/// An event with a piece of the answer.
pub(crate) fn delta(text: &str) -> String {
    event(&json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// The event that ends an answer.
pub(crate) fn finish(reason: &str) -> String {
    event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

/// An event.
pub(crate) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// The last event.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// A stream of these chunks, ended in order.
pub(crate) fn streams(chunks: &[impl AsRef<[u8]>]) -> Vec<Act> {
    let mut acts = vec![stream_head()];
    acts.extend(chunks.iter().map(chunk));
    acts.push(end());
    acts
}

/// A well-behaved answer of these pieces.
pub(crate) fn says(pieces: &[&str]) -> Vec<Act> {
    let mut chunks =
        vec![event(&json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))];
    chunks.extend(pieces.iter().map(|piece| delta(piece)));
    chunks.push(finish("stop"));
    chunks.push(event(&json!({"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 9}})));
    chunks.push(DONE.to_owned());
    streams(&chunks)
}

/// An answer with a JSON body.
pub(crate) fn answers(status: &str, headers: &[&str], body: &str) -> Vec<Act> {
    let length = format!("Content-Length: {}", body.len());
    let headers = [&["Content-Type: application/json", &length], headers].concat();
    vec![head(status, &headers), Act::Send(body.as_bytes().to_vec())]
}
