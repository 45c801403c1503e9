//! The suite: one binary, since each links the world. A file here is one subject.

mod layers;
mod stepper;
mod testbed;
mod tidy;
