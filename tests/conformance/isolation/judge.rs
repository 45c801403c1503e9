//! The judge: which anomalies a history shows that its isolation level forbids.
//!
//! PostgreSQL promises more than the levels' names say, for it is one server: what was committed before a snapshot was taken is in it. So the
//! judge adds real time to the order ("strong" in Jepsen's words):
//!
//! - READ COMMITTED: no dirty writes (G0), no aborted, intermediate or circular reads (G1), and each statement reads from one snapshot.
//! - REPEATABLE READ: snapshot isolation.
//! - SERIALIZABLE: serializable, in real time's order, too. The manual promises any order. But where a cycle needs real time, the
//!   transaction that committed first in it is one that a dangerous structure ends in, and PostgreSQL ends that, as it does without real time.
//!
//! Source: PostgreSQL's manual, 13.2; Adya, "Weak Consistency", 1999; Kingsbury and Alvaro, "Elle", VLDB 2020.

use std::time::Duration;

use adya::{Opts, Report, Valid, Workload};

use super::history::{History, Kind, Unit, for_adya};

/// Where the judge finds nothing to compare it says so, which is no fault.
const NOTHING_TO_COMPARE: &str = "empty-transaction-graph";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub(crate) const ALL: [Self; 3] = [Self::ReadCommitted, Self::RepeatableRead, Self::Serializable];

    /// As adya calls what holds between transactions.
    fn model(self) -> &'static str {
        match self {
            Self::ReadCommitted => "strong-read-committed",
            Self::RepeatableRead => "strong-snapshot-isolation",
            Self::Serializable => "strict-serializable",
        }
    }
}

/// An anomaly by Elle's name, and why it is one.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) why: String,
}

fn ask(kind: Kind, units: &[Unit], model: &str) -> Report {
    let (history, order) = for_adya(kind, units);
    let workload = if kind == Kind::Lists { Workload::ListAppend } else { Workload::RwRegister };
    // Never out of time: a verdict must not depend on how busy the machine is.
    let timeout = Duration::from_secs(3600);
    let transaction_order = (kind == Kind::Registers).then(|| order.into_iter().collect());
    let options = Opts { models: vec![model.to_owned()], timeout, transaction_order, ..Opts::default() };
    adya::check(&history, workload, &options)
}

/// What adya finds in transactions, where they should be as a model says.
pub(crate) fn faults_under(kind: Kind, units: &[Unit], model: &str) -> Vec<Fault> {
    let report = ask(kind, units, model);
    if report.valid == Valid::Unknown && report.anomaly_types == [NOTHING_TO_COMPARE] {
        return Vec::new();
    }
    assert_ne!(report.valid, Valid::Unknown, "no verdict: {:?}", report.anomalies);
    let faults = report.anomalies.into_iter().filter(|(name, _)| name != NOTHING_TO_COMPARE);
    let first = |(name, all): (String, Vec<adya::Anomaly>)| {
        let why = all.first().map_or_else(String::new, |anomaly| anomaly.explanation.clone());
        Fault { name, why }
    };
    faults.map(first).collect()
}

/// What a level forbids between whole transactions.
pub(crate) fn faults_of_transactions(kind: Kind, units: &[Unit], level: Level) -> Vec<Fault> {
    faults_under(kind, units, level.model())
}

/// All that a level forbids.
pub(crate) fn faults(history: &History, level: Level) -> Vec<Fault> {
    let mut found = faults_of_transactions(history.kind, &history.by_transaction(), level);
    found.extend(history.impossible().map(|why| Fault { name: "impossible".to_owned(), why }));
    if level == Level::ReadCommitted {
        match history.by_statement() {
            Ok(units) => found.extend(faults_under(history.kind, &units, "strict-serializable")),
            Err(why) => found.push(Fault { name: "internal".to_owned(), why }),
        }
    }
    found
}
