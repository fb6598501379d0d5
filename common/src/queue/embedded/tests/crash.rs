//! `kill -9` in the middle of work, for real: another process works on the files and says what it
//! was promised; then it is killed, and the files must agree with what it had said.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

/// Tells the worker where to work; without it the worker is a test with nothing to do.
const FOLDER: &str = "QUITTANCE_CRASH_FOLDER";

const WORKER: &str = "queue::embedded::tests::crash::the_worker_works_until_it_is_killed";

/// One line in one write: a killed process leaves whole lines.
fn say(what: &str, body: &[u8]) {
    let line = format!("\n{what} {}\n", String::from_utf8_lossy(body));
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_works_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let engine = open(Path::new(&folder)).await;
    let mut work = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let engine = engine.clone();
        work.spawn(async move {
            loop {
                let body = MessageId::new().to_string();
                publish(&engine, VERIFY, &[&body]).await;
                say("published", body.as_bytes());
            }
        });
    }
    for _ in 0..2 {
        let mut consumer = engine.consume(VERIFY, 3).await;
        work.spawn(async move {
            loop {
                let delivery = next(&mut consumer).await;
                say("acking", &delivery.message.body);
                delivery.acker.ack().await.unwrap();
                say("acked", &delivery.message.body);
            }
        });
    }
    work.join_all().await;
}

/// What the worker has said of each message.
#[derive(Default)]
struct Said {
    published: HashSet<String>,
    acking: HashSet<String>,
    acked: HashSet<String>,
}

impl Said {
    /// Lets the worker work on `dir` until it has said `lines`, then kills it.
    fn listen(&mut self, dir: &Path, lines: usize) {
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", WORKER, "--nocapture"])
            .env(FOLDER, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = 0;
        for line in BufReader::new(worker.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((what, body)) = line.split_once(' ') else {
                continue;
            };
            let set = match what {
                "published" => &mut self.published,
                "acking" => &mut self.acking,
                "acked" => &mut self.acked,
                _ => continue,
            };
            set.insert(body.to_owned());
            heard += 1;
            if heard == lines {
                worker.kill().unwrap();
            }
        }
        worker.wait().unwrap();
        assert!(heard >= lines, "the worker ended by itself");
    }
}

#[tokio::test]
async fn a_killed_process_has_kept_every_promise() {
    let dir = TempDir::new().unwrap();
    let mut said = Said::default();
    for lines in [200, 700, 431] {
        said.listen(dir.path(), lines);
        let engine = open(dir.path()).await;
        let left = engine.peek(VERIFY, u32::MAX).await.unwrap();
        let bodies: HashSet<String> = left
            .iter()
            .map(|message| String::from_utf8_lossy(&message.body).into_owned())
            .collect();
        assert_eq!(bodies.len(), left.len(), "a message is there twice");
        let back = said.acked.intersection(&bodies).count();
        assert_eq!(back, 0, "acked messages came back");
        let lost = said
            .published
            .iter()
            .filter(|body| !bodies.contains(*body) && !said.acking.contains(*body))
            .count();
        assert_eq!(lost, 0, "published messages are lost");
        engine.close(SOON).await;
    }
}
