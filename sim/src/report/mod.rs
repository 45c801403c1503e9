//! What people and programs read: the timeline of a run, and the summary of many.

pub mod paint;
pub mod summary;
pub(crate) mod text;
pub mod timeline;

use crate::backend::BackendError;

/// What failed, in words.
pub fn failure(error: &BackendError) -> String {
    match error {
        BackendError::Environment(message) => message.clone(),
        BackendError::Refused { statement, construct } => {
            format!("the model of PostgreSQL refuses {statement}: {construct} is not supported (0A000)")
        }
    }
}
