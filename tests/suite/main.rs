//! The suite: one binary, since each links the world. A file here is one subject.

mod cli_status;
mod cli_usage;
mod cli_verify;
mod layers;
mod stepper;
mod testbed;
mod tidy;
