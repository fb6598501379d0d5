//! A bounded queue of log lines and the one thread that writes them. When the queue is full a
//! line is dropped and counted, and the count is written once there is room.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: some seconds of a busy process, a few megabytes at most.
const CAPACITY: usize = 8_192;

enum Job {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where log lines go. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sink {
    jobs: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    /// The process's one sink to standard error.
    pub(super) fn standard_error() -> Self {
        static SINK: OnceLock<Sink> = OnceLock::new();
        SINK.get_or_init(|| Self::new(io::stderr(), CAPACITY))
            .clone()
    }

    /// A sink that writes to `out` from a thread of its own.
    fn new(out: impl Write + Send + 'static, capacity: usize) -> Self {
        let (jobs, queue) = sync_channel(capacity);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        // Without a thread (limits of the system) lines are dropped; the work goes on.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&queue, &counter, out))
            .ok();
        Self { jobs, dropped }
    }

    /// Waits until everything queued before is written, at most `within`.
    pub(super) fn flush(&self, within: Duration) {
        let (done, wait) = sync_channel(1);
        if self.jobs.try_send(Job::Flush(done)).is_ok() {
            wait.recv_timeout(within).ok();
        }
    }

    fn push(&self, line: Vec<u8>) {
        if self.jobs.try_send(Job::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread: ends when the last sink is gone. Errors of the reader are nobody's fault here.
fn write_all(queue: &Receiver<Job>, dropped: &AtomicU64, mut out: impl Write) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Line(line) => {
                out.write_all(&line).ok();
            }
            Job::Flush(done) => {
                out.flush().ok();
                done.send(()).ok();
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            writeln!(
                out,
                "{lost} log lines were dropped: nobody read them in time"
            )
            .ok();
        }
    }
}

/// One event's line: pushed as a whole when it is dropped.
pub(super) struct Line {
    sink: Sink,
    bytes: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.sink.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            sink: self.clone(),
            bytes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// A reader that takes nothing until it is told to, and then shows what came.
    struct Slow {
        go: Receiver<()>,
        shown: SyncSender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().ok();
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.shown.send(text).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_does_not_read_blocks_nobody_and_learns_what_was_lost() {
        let (let_go, go) = channel();
        let (shown, seen) = sync_channel(100);
        let sink = Sink::new(Slow { go, shown }, 2);
        for _ in 0..50 {
            sink.make_writer().write_all(b"line\n").unwrap();
        }
        drop(let_go);
        drop(sink);
        let text: String = seen.iter().collect();
        assert!(text.contains("log lines were dropped"), "{text}");
    }

    #[test]
    fn a_flush_waits_for_the_lines_before_it() {
        let (shown, seen) = sync_channel(100);
        let (let_go, go) = channel::<()>();
        drop(let_go);
        let sink = Sink::new(Slow { go, shown }, 8);
        sink.make_writer().write_all(b"last words\n").unwrap();
        sink.flush(Duration::from_secs(10));
        assert_eq!(seen.try_recv().unwrap(), "last words\n");
    }
}
