//! The `skiptrace` binary: see [`skiptrace_sim::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;
use skiptrace_sim::cli::{self, Output};

/// A run allocates and frees some 200 small pieces, which the C library's allocator takes four times as long for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let exit = cli::run(std::env::args_os(), Output::stdout(), Output::stderr());
    ExitCode::from(exit as u8)
}
