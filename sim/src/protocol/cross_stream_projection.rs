//! Cross-stream projection: the core as it is, with a projection that it is not made for.
//!
//! A projection promises that its applies commute across streams. This one numbers what it is told, whatever the stream, as a journal
//! numbers its entries: which number an event gets depends on what the other streams' events got before.
//!
//! ```text
//! append-1  bumps s1  inserts its event: position 1                                                     applies: entry 2  COMMIT
//! append-2                                           bumps s2  inserts: position 2  applies: entry 1  COMMIT
//! rebuild   later, by position: s1's event is entry 1
//! ```
//!
//! Nothing is lost, nothing applied twice, each stream is in order; and a rebuild renumbers the journal, though nothing was appended
//! meanwhile. Nobody is at fault but the projection: positions are taken when events are inserted, inline applies come when their
//! appends get to it, a drain goes stream by stream, and a rebuild's second pass finds lower positions than its first. To put them all in
//! one order, every append would have to wait for every other one. What must be numbered across streams is numbered by `position`, which
//! is the event's own.

use std::rc::Rc;

use super::skip_record::SkipRecord;
use super::{Bound, Protocol};
use crate::backend::Layout;
use crate::scenario::Scenario;

/// See the module. The journal is the harness's log, with its numbers taken for what the read model is about.
pub(super) struct CrossStreamProjection;

impl Protocol for CrossStreamProjection {
    fn name(&self) -> &'static str {
        "cross_stream_projection"
    }

    fn summary(&self) -> &'static str {
        "the core, with a projection that numbers the events of all streams as it is told of them"
    }

    fn layout(&self, scenario: &Scenario) -> Layout {
        SkipRecord.layout(scenario)
    }

    fn bind(&self, scenario: &Scenario) -> Rc<dyn Bound> {
        SkipRecord.bind(scenario)
    }

    fn shows_order(&self) -> bool {
        true
    }
}
