//! Statement by statement, the model answers what PostgreSQL answered: values as text, SQLSTATEs, messages.

use skiptrace_model::{Outcome, Server, SessionId, Type};

const RECORDED: &str = include_str!("postgres15.txt");

fn answer(server: &mut Server, session: SessionId, sql: &str) -> String {
    // What does not compile fails the transaction, too.
    let Ok(prepared) = server.prepare(sql) else { return text(server.query(session, sql), &[]) };
    let types: Vec<Type> = server.columns(prepared).map(|(_, ty)| ty).collect();
    text(server.execute(session, prepared, &[]), &types)
}

fn text(outcome: Outcome, types: &[Type]) -> String {
    match outcome {
        Outcome::Done(answer) => {
            let rows = answer.rows.iter().map(|row| {
                let values =
                    row.iter().zip(types).map(|(value, ty)| value.to_text(*ty).unwrap_or_else(|| "∅".to_owned()));
                values.collect::<Vec<_>>().join("|")
            });
            rows.collect::<Vec<_>>().join("~")
        }
        Outcome::Failed(error) => format!("ERROR {}: {}", error.sqlstate, error.message),
        Outcome::Waits | Outcome::Paused => "waits".to_owned(),
    }
}

#[test]
fn the_model_answers_as_postgresql_does() {
    let mut server = Server::new();
    let session = server.connect();
    let mut lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let mut asked = 0;
    while let (Some(sql), Some(want)) = (lines.next(), lines.next()) {
        let want = want.strip_prefix('=').unwrap_or_else(|| panic!("{sql}: no answer is recorded")).trim_start();
        assert_eq!(answer(&mut server, session, sql).trim_start(), want, "{sql}");
        asked += 1;
    }
    assert!(asked > 250, "only {asked} statements are recorded");
}
