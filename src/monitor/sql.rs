//! The statements of watching.

use crate::statements::Text;

pub(crate) const READ_BACKLOG: Text = (
    "monitor.read_backlog",
    "SELECT s.projection, s.generation, s.reason, count(*), min(s.recorded_at)
     FROM {schema}.skips s
     GROUP BY s.projection, s.generation, s.reason
     ORDER BY s.projection, s.generation, s.reason",
);

pub(crate) const READ_ARCHIVE: Text = (
    "monitor.read_archive",
    "SELECT a.projection, a.outcome, count(*)
     FROM {schema}.skip_archive a
     GROUP BY a.projection, a.outcome
     ORDER BY a.projection, a.outcome",
);

pub(crate) const READ_GENERATIONS: Text = (
    "monitor.read_generations",
    "SELECT g.projection, g.generation, g.state, g.handler_version,
            p.phase, p.fenced, p.epoch, p.pass, p.cursor, p.pass_end, p.started_at, p.updated_at
     FROM {schema}.generations g LEFT JOIN {schema}.rebuild_progress p
         ON p.projection = g.projection AND p.generation = g.generation
     ORDER BY g.projection, g.generation",
);

/// Ages are told by the server's clock.
pub(crate) const READ_CLOCK: Text = ("monitor.read_clock", "SELECT clock_timestamp()");
