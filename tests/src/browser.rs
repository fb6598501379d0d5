//! A headless Chromium, driven over the `WebDriver` protocol by chromedriver's HTTP interface.
//!
//! It is told to reach nothing but this machine, and runs with a new, empty profile.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::eventually::eventually;
use crate::{http, ports, servers};

const START: Duration = Duration::from_secs(40);

/// Where Debian puts the browser.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Headless, alone, and without a word to anybody: it may run as root in a container.
const ARGUMENTS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];

/// A browser with one window. Ends when it is dropped.
#[derive(Debug)]
pub struct Browser {
    address: SocketAddr,
    session: String,
    _driver: Daemon,
    _folder: TempDir,
}

impl Browser {
    /// Starts a browser that prefers `language`.
    pub async fn start(language: &str) -> anyhow::Result<Self> {
        let folder = servers::folder("quittance-browser-")?;
        let port = ports::free()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        command.env("HOME", folder.path());
        let log = folder.path().join("chromedriver.log");
        let driver = Daemon::spawn("chromedriver", command, &log, Signal::TERM)
            .context("install chromium and chromium-driver, or run ./tests/run")?;
        eventually("chromedriver is ready", START, async || {
            let answer = http::once(address, "GET", "/status", "", b"").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await?;
        let profile = folder.path().join("profile");
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        arguments.push(format!("--accept-lang={language}"));
        let options = json!({ "binary": CHROMIUM, "args": arguments });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
        } } });
        let asked = tokio::time::timeout(START, ask(address, "POST", "/session", &wanted));
        let session = asked.await.context("chromium did not start")??;
        let session = session.get("sessionId").and_then(Value::as_str);
        let session = session.context("no session")?;
        Ok(Self {
            address,
            session: session.to_owned(),
            _driver: driver,
            _folder: folder,
        })
    }

    async fn command(&self, method: &str, name: &str, body: &Value) -> anyhow::Result<Value> {
        let path = format!("/session/{}/{name}", self.session);
        ask(self.address, method, &path, body).await
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.command("POST", "url", &json!({ "url": url })).await?;
        Ok(())
    }

    /// What a script gives back, such as `return document.title`.
    pub async fn script(&self, script: &str) -> anyhow::Result<Value> {
        let body = json!({ "script": script, "args": [] });
        self.command("POST", "execute/sync", &body).await
    }

    /// The text that a reader sees.
    pub async fn text(&self) -> anyhow::Result<String> {
        let text = self.script("return document.body.innerText").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks the one element that a CSS selector finds.
    pub async fn click(&self, selector: &str) -> anyhow::Result<()> {
        let element = self.element(selector).await?;
        let name = format!("element/{element}/click");
        self.command("POST", &name, &json!({})).await?;
        Ok(())
    }

    /// Replaces what is in a text field.
    pub async fn fill(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let element = self.element(selector).await?;
        let clear = format!("element/{element}/clear");
        self.command("POST", &clear, &json!({})).await?;
        let value = format!("element/{element}/value");
        self.command("POST", &value, &json!({ "text": text }))
            .await?;
        Ok(())
    }

    async fn element(&self, selector: &str) -> anyhow::Result<String> {
        let find = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "elements", &find).await?;
        let found = found.as_array().context("a list of elements")?;
        let [element] = &found[..] else {
            bail!("{} elements are `{selector}`, not one", found.len());
        };
        // Its one member has a name that the protocol fixes.
        let id = element
            .as_object()
            .and_then(|element| element.values().next());
        let id = id.and_then(Value::as_str).context("an element's id")?;
        Ok(id.to_owned())
    }

    /// The address of the page.
    pub async fn url(&self) -> anyhow::Result<String> {
        let url = self.command("GET", "url", &Value::Null).await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page shows `wanted`, without touching it.
    pub async fn shows(&self, wanted: &str, patience: Duration) -> anyhow::Result<()> {
        let shown = eventually(
            &format!("the page shows `{wanted}`"),
            patience,
            async || {
                let text = self.text().await.ok()?;
                text.contains(wanted).then_some(())
            },
        )
        .await;
        match shown {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error}; it shows:\n{}", self.text().await?),
        }
    }

    /// Makes the window as large as a device's.
    pub async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.command("POST", "goog/cdp/execute", &command).await?;
        Ok(())
    }

    /// Writes what is seen to a PNG.
    pub async fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        let picture = self.command("GET", "screenshot", &Value::Null).await?;
        let picture = picture.as_str().context("no picture")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture)?;
        fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Browser {
    /// The driver closes the browser when its session is deleted; a signal alone would leave it.
    fn drop(&mut self) {
        let limit = Duration::from_secs(5);
        if let Ok(mut stream) = TcpStream::connect_timeout(&self.address, limit) {
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n",
                self.session
            );
            stream.set_read_timeout(Some(limit)).ok();
            if stream.write_all(request.as_bytes()).is_ok() {
                // Answered means closed.
                stream.read_exact(&mut [0]).ok();
            }
        }
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    let headers = "Content-Type: application/json\r\n";
    let answer = http::once(address, method, path, headers, &bytes).await?;
    let mut answered: Value = serde_json::from_slice(&answer.body)?;
    let value = answered.get_mut("value").map(Value::take);
    let value = value.unwrap_or_default();
    if answer.status != 200 {
        let message = value.get("message").and_then(Value::as_str);
        bail!("webdriver: {}", message.unwrap_or("no reason given"));
    }
    Ok(value)
}
