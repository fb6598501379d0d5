//! `quittance demo --web`: a shop to click through on one's own machine. The embedded engine, the
//! stand-in and a small shop front, all on free ports of this machine, in a temporary folder.

mod front;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use quittance_common::ids::Sku;
use quittance_common::money::Money;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::front::Front;
use super::body::{RECEIVER_EMAIL, RECEIVER_ID};
use crate::catalogue::Product;
use crate::sandbox::{Options, Sandbox, SandboxHandle};
use crate::wiring::{Running, SettingsSource};

/// What the shop sells: sku, name, cents, how many there are.
const PRODUCTS: [(&str, &str, i64, u32); 3] = [
    ("MUG", "Coffee mug", 990, 20),
    ("POT", "Tea pot", 2_450, 8),
    ("POSTER", "Poster of a lighthouse", 1_500, 3),
];

/// The stand-in's times are divided by this: what is sent again is sent after half a second.
const TIME_SCALE: u32 = 20;
/// An eCheck takes fifteen seconds on the clock.
const ECHECK: Duration = Duration::from_mins(5);

/// Runs until `stop`; tells `out` where the shop is and what to click.
///
/// # Errors
/// When something cannot start, or a stage ends by itself.
pub async fn run(
    out: &mut (dyn Write + Send),
    listen: SocketAddr,
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let world = World::start(folder.path(), listen).await?;
    world.tell(out, folder.path())?;
    world.run(stop).await
}

struct World {
    front: TcpListener,
    shop: Url,
    sandbox: SandboxHandle,
    running: Running,
    desk: Front,
}

impl World {
    async fn start(folder: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let options = Options {
            time_scale: TIME_SCALE,
            echeck_clears_after: ECHECK,
            ..Options::default()
        };
        let identity_token = options.identity_token.clone();
        let sandbox = Sandbox::start_with(TcpListener::bind("127.0.0.1:0").await?, options)?;
        let ingest = TcpListener::bind("127.0.0.1:0").await?;
        let front = TcpListener::bind(listen).await?;
        let shop = Url::parse(&format!("http://{}/", front.local_addr()?))?;
        let token = secret();
        let wiring = Wiring {
            webscr: sandbox.webscr_url(),
            ingest: ingest.local_addr()?,
            shop: &shop,
            identity_token: &identity_token,
            token: &token,
        };
        let file = folder.join("demo.toml");
        tokio::fs::write(&file, wiring.settings(folder)?).await?;
        // The environment is left out: the demo must not touch anybody's real servers.
        let settings = SettingsSource {
            file: Some(file),
            environment: std::collections::BTreeMap::default(),
        }
        .load()?;
        let running = Running::start(settings, ingest).await?;
        running.books.import(&products()?).await?;
        let desk = Front::new(
            running.books.clone(),
            running.admin,
            &token,
            Url::parse(&sandbox.webscr_url())?,
        )?;
        Ok(Self {
            front,
            shop,
            sandbox,
            running,
            desk,
        })
    }

    fn tell(&self, out: &mut (dyn Write + Send), folder: &Path) -> std::io::Result<()> {
        let sandbox = self.sandbox.address();
        writeln!(out, "demo shop on {}", self.shop)?;
        writeln!(out, "  1. open it, choose what you like, press \"Order\"")?;
        writeln!(
            out,
            "  2. press \"Pay with PayPal\": a stand-in on http://{sandbox}/ plays it"
        )?;
        let clears = ECHECK.as_secs() / u64::from(TIME_SCALE);
        writeln!(
            out,
            "  3. pay, pay by eCheck (the bank pays after {clears} s), or cancel"
        )?;
        writeln!(
            out,
            "  4. the page that you come back to says how the payment stands"
        )?;
        writeln!(
            out,
            "books and mail are in {} until the end",
            folder.display()
        )?;
        writeln!(out, "Ctrl-C ends it")?;
        out.flush()
    }

    async fn run(self, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let token = CancellationToken::new();
        let ended = token.clone();
        let serving = tokio::spawn(
            axum::serve(self.front, front::router(self.desk))
                .with_graceful_shutdown(token.clone().cancelled_owned())
                .into_future(),
        );
        let stopping = async {
            stop.await;
            token.cancel();
        };
        let (result, ()) = tokio::join!(
            async {
                let result = self.running.until(ended.clone()).await;
                // A stage that ended by itself ends the rest.
                ended.cancel();
                result
            },
            async {
                tokio::select! {
                    () = stopping => {}
                    () = ended.cancelled() => {}
                }
            }
        );
        self.sandbox.stop().await;
        tokio::time::timeout(Duration::from_secs(2), serving)
            .await
            .ok();
        result
    }
}

/// What the settings have to know.
struct Wiring<'a> {
    webscr: String,
    ingest: SocketAddr,
    shop: &'a Url,
    identity_token: &'a str,
    token: &'a str,
}

impl Wiring<'_> {
    fn settings(&self, folder: &Path) -> anyhow::Result<String> {
        // A JSON string is a TOML string.
        let data_dir = serde_json::to_string(&folder.join("data"))?;
        let Self {
            webscr,
            ingest,
            shop,
            identity_token,
            token,
        } = self;
        let secret = secret();
        Ok(format!(
            r#"engine = "embedded"
data_dir = {data_dir}
shop_database = "sqlite"
shutdown_grace = "5s"
public_url = "http://{ingest}/"

[ingest]
listen = "{ingest}"

[admin]
listen = "127.0.0.1:0"
token = "{token}"

[verifier]
connect_timeout = "2s"
postback_timeout = "5s"
recheck_after = "1s"
orders = "required"

[orders]
secret = "{secret}"
cancel_url = "{shop}?given_up"

[retry]
ladder = ["200ms", "1s", "5s"]

[notify]
driver = "maildir"
from = "shop@shop.example"
shop_name = "Demo shop"

[[account]]
id = "default"
gateway = "paypal"
environment = "live"
receivers = ["{RECEIVER_ID}", "{RECEIVER_EMAIL}"]
pdt_token = "{identity_token}"
postback_url = "{webscr}"
pdt_url = "{webscr}"
checkout_url = "{webscr}"
"#
        ))
    }
}

fn products() -> anyhow::Result<Vec<Product>> {
    let euro = "EUR".parse()?;
    PRODUCTS
        .into_iter()
        .map(|(sku, name, cents, on_hand)| {
            Ok(Product {
                sku: sku.parse::<Sku>()?,
                name: name.to_owned(),
                price: Money::from_minor(cents, euro),
                on_hand,
            })
        })
        .collect()
}

/// A secret for this run alone.
fn secret() -> String {
    use std::fmt::Write as _;
    rand::random::<[u8; 32]>()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            write!(hex, "{byte:02x}").ok();
            hex
        })
}
