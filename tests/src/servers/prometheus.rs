//! A private Prometheus.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::eventually::eventually;
use crate::{http, ports};

const BOOT: Duration = Duration::from_secs(30);

/// A server that this value owns.
#[derive(Debug)]
pub struct Prometheus {
    daemon: Daemon,
    address: SocketAddr,
    #[expect(dead_code, reason = "held for its drop")]
    folder: TempDir,
}

impl Prometheus {
    /// Scrapes these jobs, by name and address, every second, and evaluates the groups of the file
    /// `rules` as often.
    pub async fn start(jobs: &[(&str, SocketAddr)], rules: &Path) -> anyhow::Result<Self> {
        let folder = super::folder("quittance-prometheus-")?;
        let scraped: Vec<Value> = jobs
            .iter()
            .map(|(job, address)| {
                serde_json::json!({
                    "job_name": job,
                    "static_configs": [{"targets": [address.to_string()]}],
                })
            })
            .collect();
        // JSON is YAML too.
        let configuration = serde_json::json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": scraped,
        });
        let file = folder.path().join("prometheus.yaml");
        std::fs::write(&file, configuration.to_string())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let log = folder.path().join("prometheus.log");
        let daemon = Daemon::spawn("Prometheus", command, &log, Signal::KILL)?;
        let mut started = Self {
            daemon,
            address,
            folder,
        };
        eventually("Prometheus answers", BOOT, async || {
            if let Err(ended) = started.daemon.expect_running() {
                return Some(Err(ended));
            }
            let answer = http::once(address, "GET", "/-/ready", "", b"").await.ok()?;
            (answer.status == 200).then_some(Ok(()))
        })
        .await??;
        Ok(started)
    }

    /// The values of the series that an expression has now; an expression that it cannot evaluate
    /// is an error.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<f64>> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .finish();
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = self.ask("POST", "/api/v1/query", headers, &body).await?;
        let series = answer.get("result").and_then(Value::as_array);
        series
            .context("a list")?
            .iter()
            .map(|series| {
                let value = series.pointer("/value/1").and_then(Value::as_str);
                Ok(value.context("a value")?.parse()?)
            })
            .collect()
    }

    /// Every rule, with its `health` and `lastError`.
    pub async fn rules(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.ask("GET", "/api/v1/rules", "", "").await?;
        let groups = answer.get("groups").and_then(Value::as_array);
        let rules = groups
            .context("groups")?
            .iter()
            .filter_map(|group| group.get("rules")?.as_array());
        Ok(rules.flatten().cloned().collect())
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> anyhow::Result<Value> {
        let answer = http::once(self.address, method, path, headers, body.as_bytes()).await?;
        let text = answer.text();
        ensure!(answer.status == 200, "{body}: {} {text}", answer.status);
        let mut answer: Value = serde_json::from_str(&text)?;
        let data = answer.get_mut("data").context("data")?;
        Ok(data.take())
    }
}
