//! The `openclaw-server` command.

use std::process::ExitCode;

/// A streamed answer allocates thousands of times, on one thread, and frees on another, which the system's allocator
/// pays dearly for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    openclaw_server::cli::run()
}
