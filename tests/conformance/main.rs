//! Conformance: what PostgreSQL does, and that the model does the same.
//!
//! Each file in `specs/` tells one behaviour in isolationtester's format. What PostgreSQL answered stands in `expected/`, step by step: rows,
//! counts, SQLSTATEs, who waits for whom, who goes on. Two tests a spec: the server still answers so, and so does the model.
//! `SKIPTRACE_RECORD=1 cargo test --test conformance` writes what the server answers.

mod differential;
mod isolation;
mod postgres_suite;
mod reduction;
mod runner;

macro_rules! specs {
    (agree { $($name:ident)* } refused { $($unknown:ident by $construct:literal)* }) => {
        mod server {
            $(#[test] fn $name() { crate::runner::on_the_server(stringify!($name)); })*
            $(#[test] fn $unknown() { crate::runner::on_the_server(stringify!($unknown)); })*
        }

        mod model {
            $(#[test] fn $name() { crate::runner::on_the_model(stringify!($name)); })*
            // What the model does not know it refuses by name; it never guesses.
            $(#[test] fn $unknown() { crate::runner::refused_by_the_model(stringify!($unknown), $construct); })*
        }

        #[test]
        fn every_spec_is_run() {
            let mut listed = vec![$(stringify!($name).replace('_', "-")),*];
            listed.extend([$(stringify!($unknown).replace('_', "-")),*]);
            listed.sort();
            assert_eq!(crate::runner::specs_in_folder(), listed, "list the files of specs/ here");
        }
    };
}

specs! {
    agree {
        advisory_lock_queue
        advisory_locks
        chained_transactions
        change_behind_those_who_share
        currval_locks_the_sequence
        deadlock
        deadlock_by_upgrade
        delete_and_insert_again
        dropped_index
        durations_of_settings
        failed_transaction
        failed_transaction_and_grammar
        first_column_of_an_index
        foreign_key_actions
        foreign_keys_share_the_key
        foreign_keys_under_repeatable_read
        index_over_rows
        isolation_inside_a_savepoint
        key_share_follows_the_row
        lock_and_read_in_one_statement
        lock_beside_an_outer_join
        locked_for_update_then_changed
        locked_row_is_not_rechecked
        locker_has_an_id_after_a_wait
        nowait
        on_conflict_do_nothing_waits
        on_conflict_do_update_waits
        on_conflict_goes_on_where_it_waited
        on_conflict_under_repeatable_read
        partial_unique_index
        prepared_transactions
        recheck_keeps_the_subquerys_row
        recheck_sees_a_moved_key
        repeatable_read_lost_update
        rolled_back_index
        row_holders_in_their_order
        row_lock_strengths
        row_queue
        row_queue_of_a_row_that_goes
        savepoints
        sequence_of_a_column
        sequences_do_not_roll_back
        set_a_sequence
        settings_of_a_transaction
        skip_locked
        snapshot_of_each_statement
        snapshot_xmax_is_not_the_next_id
        subquery_is_run_once
        table_locks
        truncate_cascades
        truncate_restarts_what_it_says
        truncate_waits_and_empties_old_snapshots
        two_drains_claim_once
        unique_twin
        unique_twin_that_goes
        update_waits_then_rechecks
        view_is_locked_with_its_tables
        wait_keeps_the_snapshot
        waiting_and_transaction_ids
        what_takes_the_snapshot
        when_a_transaction_id_appears
        who_may_have_read_the_old_state
    }
    refused {
        deferred_foreign_keys by "DEFERRABLE"
        errs_behind_a_table_lock by "a statement that errs, and might wait for a table before"
        recheck_of_an_inequality by "a subquery in WHERE that may find other rows"
        sequence_dropped_meanwhile by "a sequence that is dropped while a function waits for it"
    }
}
