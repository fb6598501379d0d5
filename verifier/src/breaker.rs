//! When to ask the gateway and when to leave it alone. Pure: `now` is an argument.
//!
//! Closed: everybody asks. After `failures` failures in a row it opens: nobody asks until the
//! cooldown is over, which doubles with every opening up to sixteen times. Then one probe at a time
//! asks; its answer closes the breaker, but slowly: one caller at once, then two, then four, so that
//! the backlog of an outage does not fall upon a gateway that has just got up.
//!
//! A call belongs to the generation in which it was admitted, and a new one begins with every opening:
//! what comes back from before it says nothing about the gateway now.

use std::time::Duration;

use tokio::time::Instant;

/// How often the cooldown may double.
const DOUBLINGS: u32 = 4;

/// What the breaker is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The first wait before a probe.
    pub cooldown: Duration,
    /// Callers at once when all is well; the slow start ends there.
    pub concurrency: u32,
}

/// The time between two openings in which a call was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

/// The answer to a caller who wants to ask the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Ask, and [`Breaker::report`] with this what came of it.
    Go(Generation),
    /// Not now; try again after this.
    Wait(Duration),
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The gateway answered something that it means (`VERIFIED`, `INVALID`).
    Answered,
    /// It did not.
    Failed,
    /// The caller gave up without knowing (shutdown): counts as neither.
    Abandoned,
}

/// For the gauge `breaker_state` and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// All is well: 0.
    Closed,
    /// Slow start or a probe under way: 1.
    HalfOpen,
    /// Nobody asks: 2.
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        openings: u32,
    },
    Probing {
        openings: u32,
    },
    SlowStart {
        limit: u32,
        in_flight: u32,
        openings: u32,
    },
}

/// How soon a caller who found the slow start full should look again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How soon a caller who found a probe under way should look again.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// One breaker, for one gateway host.
#[derive(Debug)]
pub struct Breaker {
    policy: Policy,
    state: State,
    generation: Generation,
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            state: State::Closed { failures: 0 },
            generation: Generation(0),
        }
    }

    /// May a caller ask now? After `Go` exactly one [`Self::report`] is owed.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Go(self.generation),
            State::Open { until, openings } if until <= now => {
                self.state = State::Probing { openings };
                Admission::Go(self.generation)
            }
            State::Open { until, .. } => Admission::Wait(until.saturating_duration_since(now)),
            State::Probing { .. } => Admission::Wait(self.probe_wait()),
            State::SlowStart {
                limit,
                in_flight,
                openings,
            } if in_flight < limit => {
                self.state = State::SlowStart {
                    limit,
                    in_flight: in_flight.saturating_add(1),
                    openings,
                };
                Admission::Go(self.generation)
            }
            State::SlowStart { .. } => Admission::Wait(LOOK_AGAIN),
        }
    }

    /// How long a caller would have to wait now, without asking to be admitted.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until, .. } if until > now => Some(until.saturating_duration_since(now)),
            State::Probing { .. } => Some(self.probe_wait()),
            State::Closed { .. } | State::Open { .. } | State::SlowStart { .. } => None,
        }
    }

    /// Takes what came of a call that was admitted in that generation.
    pub fn report(&mut self, now: Instant, admitted: Generation, report: Report) {
        if admitted != self.generation {
            return;
        }
        self.state = match (self.state, report) {
            (State::Closed { .. }, Report::Answered) => State::Closed { failures: 0 },
            (State::Closed { failures }, Report::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= self.policy.failures {
                    self.open(now, 0)
                } else {
                    State::Closed { failures }
                }
            }
            (State::Probing { openings } | State::SlowStart { openings, .. }, Report::Failed) => {
                self.open(now, openings.saturating_add(1))
            }
            (State::Probing { openings }, Report::Answered) => State::SlowStart {
                limit: 1,
                in_flight: 0,
                openings,
            },
            (State::Probing { openings }, Report::Abandoned) => State::Open {
                until: now,
                openings,
            },
            (
                State::SlowStart {
                    limit,
                    in_flight,
                    openings,
                },
                Report::Answered,
            ) => {
                let limit = limit.saturating_mul(2);
                if limit >= self.policy.concurrency {
                    State::Closed { failures: 0 }
                } else {
                    State::SlowStart {
                        limit,
                        in_flight: in_flight.saturating_sub(1),
                        openings,
                    }
                }
            }
            (
                State::SlowStart {
                    limit,
                    in_flight,
                    openings,
                },
                Report::Abandoned,
            ) => State::SlowStart {
                limit,
                in_flight: in_flight.saturating_sub(1),
                openings,
            },
            // While it is open nobody has been admitted whose report is still owed.
            (state @ State::Open { .. }, _) | (state @ State::Closed { .. }, Report::Abandoned) => {
                state
            }
        };
    }

    /// For the gauge.
    pub const fn level(&self) -> Level {
        match self.state {
            State::Closed { .. } => Level::Closed,
            State::Probing { .. } | State::SlowStart { .. } => Level::HalfOpen,
            State::Open { .. } => Level::Open,
        }
    }

    /// While a probe is out its answer may come at any time.
    fn probe_wait(&self) -> Duration {
        self.policy.cooldown.min(PROBE_WAIT)
    }

    fn open(&mut self, now: Instant, openings: u32) -> State {
        self.generation = Generation(self.generation.0.wrapping_add(1));
        let factor = 1_u32.checked_shl(openings.min(DOUBLINGS)).unwrap_or(1);
        let cooldown = self.policy.cooldown.saturating_mul(factor);
        State::Open {
            until: now.checked_add(cooldown).unwrap_or(now),
            openings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: Policy = Policy {
        failures: 3,
        cooldown: Duration::from_secs(10),
        concurrency: 8,
    };

    fn admitted(breaker: &mut Breaker, now: Instant) -> Option<Generation> {
        match breaker.admit(now) {
            Admission::Go(generation) => Some(generation),
            Admission::Wait(_) => None,
        }
    }

    /// A call that is admitted and comes back at once.
    fn ask(breaker: &mut Breaker, now: Instant, report: Report) {
        let generation = admitted(breaker, now).unwrap();
        breaker.report(now, generation, report);
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..3 {
            ask(&mut breaker, now, Report::Failed);
        }
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(POLICY);
        for report in [
            Report::Failed,
            Report::Failed,
            Report::Answered,
            Report::Failed,
        ] {
            ask(&mut breaker, now, report);
        }
        assert_eq!(breaker.level(), Level::Closed);
        assert_eq!(opened(now).level(), Level::Open);
    }

    #[test]
    fn while_open_nobody_asks_and_then_exactly_one_probe_does() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now), Admission::Wait(Duration::from_secs(10)));
        let later = now + Duration::from_secs(10);
        assert!(admitted(&mut breaker, later).is_some());
        assert!(admitted(&mut breaker, later).is_none());
    }

    #[test]
    fn a_failed_probe_doubles_the_wait_up_to_sixteen_times() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let Admission::Wait(wait) = breaker.admit(now) else {
                panic!("open")
            };
            waits.push(wait.as_secs());
            now += wait;
            ask(&mut breaker, now, Report::Failed);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 160]);
    }

    #[test]
    fn after_the_probe_the_backlog_is_let_in_slowly() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let now = now + Duration::from_secs(10);
        ask(&mut breaker, now, Report::Answered);
        let mut batches = Vec::new();
        while breaker.level() == Level::HalfOpen {
            let mut batch = Vec::new();
            while let Some(generation) = admitted(&mut breaker, now) {
                batch.push(generation);
            }
            batches.push(batch.len());
            for (at, generation) in batch.into_iter().enumerate() {
                let report = if at == 0 {
                    Report::Answered
                } else {
                    Report::Abandoned
                };
                breaker.report(now, generation, report);
            }
        }
        assert_eq!(batches, [1, 2, 4]);
    }

    #[test]
    fn a_probe_given_up_at_shutdown_leaves_the_next_caller_a_probe() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let now = now + Duration::from_secs(10);
        ask(&mut breaker, now, Report::Abandoned);
        assert!(admitted(&mut breaker, now).is_some());
    }

    #[test]
    fn calls_from_before_the_opening_are_not_taken_for_the_probe() {
        for late in [Report::Failed, Report::Answered, Report::Abandoned] {
            let now = Instant::now();
            let mut breaker = Breaker::new(POLICY);
            let old = admitted(&mut breaker, now).unwrap();
            for _ in 0..3 {
                ask(&mut breaker, now, Report::Failed);
            }
            let now = now + Duration::from_secs(10);
            let probe = admitted(&mut breaker, now).unwrap();
            breaker.report(now, old, late);
            assert!(
                admitted(&mut breaker, now).is_none(),
                "the probe is still out"
            );
            breaker.report(now, probe, Report::Failed);
            let wait = Admission::Wait(Duration::from_secs(20));
            assert_eq!(breaker.admit(now), wait, "doubled once");
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_it_lets_somebody_ask_again_in_the_end(
            steps in proptest::collection::vec((0_u64..30, 0_u8..3), 0..200),
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(POLICY);
            for (seconds, outcome) in steps {
                now += Duration::from_secs(seconds);
                if let Some(generation) = admitted(&mut breaker, now) {
                    breaker.report(now, generation, match outcome {
                        0 => Report::Answered,
                        1 => Report::Failed,
                        _ => Report::Abandoned,
                    });
                }
            }
            now += Duration::from_secs(160);
            prop_assert!(admitted(&mut breaker, now).is_some());
        }
    }
}
