//! A case that does not end, or that eats the machine's memory, is an error that no assertion can tell: this ends the process and says which.

use std::sync::Mutex;
use std::time::Duration;

/// How long a case may take. Without optimisation, on a busy machine, a statement that uses up its budget takes some seconds.
const SECONDS_MAX: u32 = 60;
/// How much memory the process may have in use.
const RESIDENT_MIB_MAX: usize = 3 << 10;

static CURRENT: Mutex<(u64, String)> = Mutex::new((0, String::new()));

/// Says what is executed now.
pub(crate) fn now(case: &str) {
    let mut current = CURRENT.lock().expect("nobody panics with it");
    current.0 += 1;
    current.1.clear();
    current.1.push_str(case);
}

/// Says that nothing is executed any more: what comes next is another's.
pub(crate) fn done() {
    CURRENT.lock().expect("nobody panics with it").0 = 0;
}

fn resident_mib() -> usize {
    // Where there is no such file, only the time is watched.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4 / 1024)
}

/// Begins to watch.
#[expect(clippy::disallowed_methods, reason = "it watches from beside; no case sees it")]
pub(crate) fn start() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            let (mut last, mut quarters) = (0, 0);
            loop {
                std::thread::sleep(Duration::from_millis(250));
                let (number, case) = CURRENT.lock().expect("nobody panics with it").clone();
                quarters = if number == last && number > 0 { quarters + 1 } else { 0 };
                last = number;
                let resident = resident_mib();
                if quarters > 4 * SECONDS_MAX || resident > RESIDENT_MIB_MAX {
                    let shown: String = case.chars().take(4000).collect();
                    eprintln!("after {} s, with {resident} MiB:\n{shown}", quarters / 4);
                    std::process::abort();
                }
            }
        });
    });
}
