//! The suite: one binary, since each links the world. A file here is one subject.

mod agreement;
mod cli_spec;
mod cli_status;
mod cli_usage;
mod cli_verify;
mod core_append;
mod core_chaos;
mod core_drain;
mod core_fixture;
mod core_postgres;
mod core_rebuild;
mod layers;
mod limits;
mod properties;
mod regressions;
mod spec_fuzz;
mod stepper;
mod testbed;
mod tidy;
