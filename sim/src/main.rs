//! The `skiptrace` binary: see [`skiptrace_sim::cli`].

use std::process::ExitCode;

use skiptrace_sim::cli::{self, Output};

fn main() -> ExitCode {
    let exit = cli::run(std::env::args_os(), Output::stdout(), Output::stderr());
    ExitCode::from(exit as u8)
}
