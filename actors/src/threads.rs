//! What our threads are called, so that a profiler, `top -H` and `bench` can tell them apart.

use std::ffi::CStr;

/// Commits what actors write.
pub const WRITER: &CStr = c"writer";

/// Prepares and searches articles.
pub const KNOWLEDGE: &CStr = c"knowledge";

/// Delivers webhooks.
pub const WEBHOOKS: &CStr = c"webhooks";

/// Follows the log for those who watch it.
pub const LOG: &CStr = c"log";

/// Counts.
pub const ANALYTICS: &CStr = c"analytics";

/// Serves HTTP, and is home to conversations.
pub const HTTP_WORKER: &CStr = c"http-worker";

/// Gives the calling thread a name of at most fifteen characters: the kernel cuts the rest, which is why arbiters, named
/// `actix-rt|system:0|arbiter:3` by actix, all look the same.
pub fn name(name: &CStr) {
    // A thread without its name works just as well.
    let _ = rustix::thread::set_name(name);
}
