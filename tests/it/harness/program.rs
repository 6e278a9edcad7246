//! Another command of the program as a child process: what it prints is read as it comes, and it can be typed to.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use super::{
    eventually,
    server::{Output, PROGRAM},
};

/// A command that runs.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    out: Heard,
    err: Heard,
}

impl Program {
    /// With arguments, and with variables on top of ours.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).envs(variables.iter().copied());
        Self::of(command)
    }

    /// Whatever the command is.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let out = Heard::of(child.stdout.take().unwrap());
        let err = Heard::of(child.stderr.take().unwrap());
        Self { child, input, out, err }
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("its input is open"), "{line}").unwrap();
    }

    /// Ends its input.
    pub(crate) fn hang_up(&mut self) {
        self.input = None;
    }

    /// What it has printed so far.
    pub(crate) fn out(&self) -> String {
        self.out.text()
    }

    /// What it has printed on standard error so far.
    pub(crate) fn err(&self) -> String {
        self.err.text()
    }

    /// Waits until `enough` is true of what it has printed.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        eventually(what, || Some(self.out()).filter(|out| enough(out)))
    }

    /// Waits until it has printed that on standard error.
    #[track_caller]
    pub(crate) fn until_err(&self, text: &str) {
        eventually(text, || self.err().contains(text).then_some(()));
    }

    /// Sends a signal: `TERM`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Output {
        self.hang_up();
        let status = eventually("the program ends", || self.child.try_wait().unwrap());
        Output { status, out: self.out.whole(), err: self.err.whole() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the program printed\n{}\n--- and on standard error\n{}", self.out(), self.err());
        }
    }
}

/// A pipe, read by a thread.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Heard {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut piece) {
                heard.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Everything, once the pipe has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}
