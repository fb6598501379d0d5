//! Plays a scenario: does its steps and waits until what is expected can be seen.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;

use super::scenario::{Odd, Scenario, Step};
use super::world::{World, eventually};
use crate::sandbox::{self, Fault};
use crate::wiring::{PaymentQuery, StockRow};

/// What `PayPal` allows a listener.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any listener must take: twice the default limit.
const OVERSIZED: usize = 128 * 1024;

/// How the playing went; what came of it is seen later.
#[derive(Debug, Default)]
pub struct Played {
    /// The listener's statuses, in order; 0 for no answer.
    pub http: Vec<u16>,
    /// What could not be done, if something could not.
    pub problem: Option<String>,
}

/// Plays `scenario` in `world`, then waits until all is as expected, or patience ends. A scenario
/// that cannot be played to its end is a result too.
pub async fn play(
    world: &World,
    scenario: &Scenario,
    morning: &BTreeMap<String, StockRow>,
) -> Played {
    let mut played = Played::default();
    let asked_before = world.sandbox.postbacks().len();
    for step in &scenario.steps {
        let done = take(world, scenario, step, asked_before, &mut played.http).await;
        if let Err(error) = done {
            played.problem = Some(format!("{error:#}"));
            break;
        }
    }
    // A broken gateway must not reach the next scenario.
    world.sandbox.set_fault(Fault::default());
    let settled = eventually(async || {
        let seen = world
            .snapshot()
            .await?
            .outcome(scenario, played.http.clone(), morning);
        Ok(seen == scenario.expected && world.is_idle().await?)
    });
    if let Err(error) = settled.await {
        played.problem.get_or_insert_with(|| format!("{error:#}"));
    }
    played
}

/// Does one step.
async fn take(
    world: &World,
    scenario: &Scenario,
    step: &Step,
    asked_before: usize,
    http: &mut Vec<u16>,
) -> anyhow::Result<()> {
    match step {
        Step::Send(body) => http.push(send(world, body).await),
        Step::SendAtOnce(body, copies) => {
            let copies = (0..*copies).map(|_| send(world, body));
            http.extend(futures_util::future::join_all(copies).await);
        }
        Step::Forge(body) => {
            let (client, to) = (&world.client, &world.ingest);
            let post = sandbox::post_form(client, to, body.clone(), PATIENCE).await;
            http.push(post.status.unwrap_or_default());
        }
        Step::Request(odd) => http.push(request(world, *odd).await?),
        Step::Fault(fault) => world.sandbox.set_fault(*fault),
        Step::UntilAsked(times) => {
            let asked = || world.sandbox.postbacks().len().saturating_sub(asked_before);
            let enough = eventually(async || Ok(asked() >= *times)).await?;
            anyhow::ensure!(
                enough,
                "the gateway was asked {} times, not {times}",
                asked()
            );
        }
        Step::UntilStatus(status) => until_status(world, scenario, status).await?,
        Step::UntilIdle => {
            let idle = eventually(async || world.is_idle().await).await?;
            anyhow::ensure!(idle, "messages were still on their way");
        }
    }
    Ok(())
}

/// Has the gateway send a message; the status of the answer, 0 for none.
async fn send(world: &World, body: &Bytes) -> u16 {
    let to = world.ingest.clone();
    let post = world.sandbox.send(to, body.clone(), false).await;
    post.status.unwrap_or_default()
}

/// Makes a request that is no notification.
async fn request(world: &World, odd: Odd) -> reqwest::Result<u16> {
    let form = || {
        world
            .client
            .post(world.ingest.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
    };
    let request = match odd {
        Odd::Empty => form(),
        Odd::Oversized => form().body(vec![b'a'; OVERSIZED]),
        Odd::NotAForm => world
            .client
            .post(world.ingest.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(r#"{"txn_id":"T1"}"#),
        Odd::Get => world.client.get(world.ingest.clone()),
    };
    let response = request.timeout(PATIENCE).send().await?;
    Ok(response.status().as_u16())
}

/// Waits until the payment is in a state.
async fn until_status(world: &World, scenario: &Scenario, status: &str) -> anyhow::Result<()> {
    let last = RefCell::new(None);
    let reached = eventually(async || {
        let rows = world
            .running
            .books
            .payments(&PaymentQuery::default())
            .await?;
        let seen = rows.into_iter().find(|row| row.txn_id == scenario.txn);
        let seen = seen.map(|row| row.status);
        let reached = seen.as_deref() == Some(status);
        last.replace(seen);
        Ok(reached)
    })
    .await?;
    anyhow::ensure!(
        reached,
        "the payment is {}, not {status}",
        last.take().unwrap_or_else(|| "not in the books".to_owned())
    );
    Ok(())
}
