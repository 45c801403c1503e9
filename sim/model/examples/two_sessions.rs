//! Two sessions, one row and a wait. Run it with `cargo run -p skiptrace-model --example two_sessions`.

use skiptrace_model::{Outcome, Server};

fn main() {
    let mut server = Server::new();
    let (alice, bob) = (server.connect(), server.connect());
    server.query(alice, "CREATE TABLE seat (id int PRIMARY KEY, taken_by text)");
    server.query(alice, "INSERT INTO seat VALUES (7, NULL)");

    server.query(alice, "BEGIN");
    server.query(alice, "UPDATE seat SET taken_by = 'Alice' WHERE id = 7 AND taken_by IS NULL");
    let outcome = server.query(bob, "UPDATE seat SET taken_by = 'Bob' WHERE id = 7 AND taken_by IS NULL");
    println!("Bob wants the seat that Alice is taking: {outcome:?} for {:?}", server.blockers(bob));

    server.query(alice, "COMMIT");
    while let Some((_, Outcome::Done(answer))) = server.next_woken() {
        println!("Alice has committed; the seat is free for Bob: {}", answer.affected == 1);
    }
}
