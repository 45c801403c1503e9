//! How far a long search has come, on a terminal, once it has taken longer than anybody likes to wait in silence.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A clock that the search does not see: time reaches reports and `--seconds`, never a run.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "how long a search takes is reported; no run sees it")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

const SILENT: Duration = Duration::from_secs(2);

/// A bar on standard error.
pub(super) struct Progress {
    bar: ProgressBar,
    stopwatch: Stopwatch,
    shown: bool,
}

impl Progress {
    /// Of `total` runs, or of as many as the time allows. Nothing is ever shown where `terminal` is false.
    pub(super) fn new(name: &str, total: Option<u64>, stopwatch: Stopwatch, terminal: bool) -> Self {
        let template = match total {
            Some(_) => "{prefix:24} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left",
            None => "{prefix:24} {spinner} {human_pos} schedules  {per_sec}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is right");
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        Self { bar, stopwatch, shown: terminal }
    }

    /// So many runs more are done.
    pub(super) fn add(&self, runs: u64) {
        if self.shown && self.bar.is_hidden() && self.stopwatch.elapsed() > SILENT {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(runs);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
