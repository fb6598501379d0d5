//! The demo's world: the all-in-one server in a temporary folder, the sandbox as its gateway, and
//! the ways to look at both. Looking waits for a condition with patience, never blindly.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use quittance_common::queue::{QueueId, QueueNames};
use quittance_common::settings::NotifyDriver;
use tokio::net::TcpListener;
use url::Url;

use super::body::{RECEIVER_EMAIL, RECEIVER_ID};
use super::mail;
use super::scenario::Scenario;
use super::snapshot::Snapshot;
use crate::sandbox::{Sandbox, SandboxHandle};
use crate::wiring::{PaymentQuery, Running, SettingsSource};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(6);
/// The first and the longest wait between two looks.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// Everything that the demo runs.
#[derive(Debug)]
pub struct World {
    /// Where notifications are posted.
    pub ingest: Url,
    /// The gateway.
    pub sandbox: SandboxHandle,
    /// All stages.
    pub running: Running,
    /// Where mails go.
    pub mail_dir: PathBuf,
    /// The gateway's HTTP client.
    pub client: reqwest::Client,
    names: QueueNames,
}

impl World {
    /// Starts everything under `folder` on free ports.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let sandbox = Sandbox::start(TcpListener::bind("127.0.0.1:0").await?)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let file = folder.join("demo.toml");
        tokio::fs::write(&file, settings_text(folder, &sandbox, address)?).await?;
        // The environment is left out: the demo must not touch anybody's real servers.
        let settings = SettingsSource {
            file: Some(file),
            environment: std::collections::BTreeMap::default(),
        }
        .load()?;
        let NotifyDriver::Maildir(mail_dir) = settings.notify.driver.clone() else {
            anyhow::bail!("the demo's mails do not go to a folder");
        };
        let names = settings.queue_names();
        Ok(Self {
            ingest: Url::parse(&format!("http://{address}/ipn/paypal"))?,
            running: Running::start(settings, listener).await?,
            client: crate::sandbox::client()?,
            sandbox,
            mail_dir,
            names,
        })
    }

    /// Stops everything.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.running.stop().await;
        self.sandbox.stop().await;
        stopped
    }

    /// Puts the products of all scenarios on the shelf.
    pub async fn stock_up(&self, scenarios: &[Scenario]) -> anyhow::Result<()> {
        let products: Vec<_> = scenarios
            .iter()
            .flat_map(|scenario| scenario.products.clone())
            .collect();
        self.running.books.import(&products).await
    }

    /// Looks at everything.
    pub async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let parked = self.running.parked().await?;
        let mail_dir = self.mail_dir.clone();
        Ok(Snapshot {
            payments: self
                .running
                .books
                .payments(&PaymentQuery::default())
                .await?,
            stock: self
                .running
                .books
                .stock()
                .await?
                .into_iter()
                .map(|row| (row.sku.clone(), row))
                .collect(),
            mails: tokio::task::spawn_blocking(move || mail::read_all(&mail_dir))
                .await?
                .context("the mail folder cannot be read")?,
            parked: parked
                .into_iter()
                .map(|(queue, message)| {
                    let reason = message.headers.reason.map(|reason| reason.to_string());
                    (reason.unwrap_or(queue), message.body)
                })
                .collect(),
        })
    }

    /// Whether no message is on a work queue, on a delay queue, or in a stage's hands.
    pub async fn is_idle(&self) -> anyhow::Result<bool> {
        let depths = self.running.depths().await?;
        Ok(depths.iter().all(|depth| {
            let parking = matches!(
                self.names.parse(&depth.queue),
                Some(QueueId::Dead(_) | QueueId::Quarantine)
            );
            parking || (depth.ready == 0 && depth.unacked == Some(0))
        }))
    }
}

/// Looks again and again until `condition` holds. False when patience ends first.
pub async fn eventually(condition: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let looking = async {
        let mut wait = FIRST_LOOK;
        while !condition().await? {
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(LONGEST_LOOK);
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(looked) => looked.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// The settings file of the demo: a live account, asked of the sandbox, with short waits.
fn settings_text(
    folder: &Path,
    sandbox: &SandboxHandle,
    ingest: SocketAddr,
) -> anyhow::Result<String> {
    // A JSON string is a TOML string.
    let data_dir = serde_json::to_string(&folder.join("data"))?;
    let webscr = sandbox.webscr_url();
    Ok(format!(
        r#"engine = "embedded"
data_dir = {data_dir}
shop_database = "sqlite"
shutdown_grace = "5s"

[ingest]
listen = "{ingest}"

[admin]
listen = "127.0.0.1:0"

[verifier]
connect_timeout = "2s"
postback_timeout = "5s"
recheck_after = "200ms"
breaker_cooldown = "200ms"

[retry]
ladder = ["100ms", "200ms", "500ms", "1s"]

[notify]
driver = "maildir"
from = "shop@shop.example"
shop_name = "Demo shop"

[[account]]
id = "default"
gateway = "paypal"
environment = "live"
receivers = ["{RECEIVER_ID}", "{RECEIVER_EMAIL}"]
postback_url = "{webscr}"
pdt_url = "{webscr}"
"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looking_ends_when_patience_does() {
        assert!(!eventually(async || Ok(false)).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn looking_goes_on_until_the_condition_holds() {
        let looks = std::sync::atomic::AtomicU32::new(0);
        let third = async || Ok(looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2);
        assert!(eventually(third).await.unwrap());
    }
}
