//! Passwords that change under running processes, as a Secret does that is mounted: on the servers, in
//! the files, and every connection is closed by force. The same processes go on with the new ones.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quittance_deploy::demo::body::Ipn;
use quittance_tests::{Broker, Postgres, RabbitMq, Redis, World, eventually};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::pipeline::{Engine, PATIENCE, Pipeline};

const SUPERUSER: &str = "superuser";

/// A user of its own on each server, whose password can be changed.
struct Servers {
    broker: Broker,
    amqp: url::Url,
    redis: url::Url,
    postgres: Postgres,
    user: String,
}

impl Servers {
    async fn start() -> anyhow::Result<Self> {
        let broker = RabbitMq::shared().await?;
        Ok(Self {
            amqp: broker.vhost("rotation").await?.parse()?,
            broker,
            redis: Redis::shared().await?.parse()?,
            // The shared one lets everybody in.
            postgres: Postgres::start_with_password(SUPERUSER).await?,
            user: format!("u{}", uuid::Uuid::now_v7().simple()),
        })
    }

    /// What an administrator's tools use.
    fn world(&self) -> anyhow::Result<World> {
        World::cluster_on(
            self.amqp.as_str(),
            self.redis.as_str(),
            &self.postgres.url(),
        )
    }

    /// From now on the user logs in with this password and no other.
    async fn set_password(&self, password: &str) -> anyhow::Result<()> {
        let Self { user, broker, .. } = self;
        let body = json!({ "password": password, "tags": "" }).to_string();
        broker
            .api("PUT", &format!("/api/users/{user}"), &body)
            .await?;
        let rights = r#"{"configure":".*","write":".*","read":".*"}"#;
        let vhost = self.amqp.path().trim_start_matches('/');
        let path = format!("/api/permissions/{vhost}/{user}");
        broker.api("PUT", &path, rights).await?;
        self.redis(&[
            "ACL",
            "SETUSER",
            user,
            "reset",
            "on",
            &format!(">{password}"),
            "~*",
            "+@all",
        ])
        .await?;
        self.sql(&format!(
            "DO $$ BEGIN CREATE ROLE {user} SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        ))
        .await?;
        self.sql(&format!("ALTER ROLE {user} PASSWORD '{password}'"))
            .await
    }

    /// The URLs with that password, each in a file of `folder`.
    fn write_files(&self, folder: &Path, password: &str) -> anyhow::Result<()> {
        let postgres: url::Url = self.postgres.url().parse()?;
        for (name, url) in [
            ("amqp", &self.amqp),
            ("redis", &self.redis),
            ("postgres", &postgres),
        ] {
            let mut url = url.clone();
            let named = url.set_username(&self.user);
            let guarded = url.set_password(Some(password));
            ensure!(named.and(guarded).is_ok(), "a URL with a host");
            // Never half a file, as where a Secret is mounted.
            let new = folder.join(format!("{name}.new"));
            std::fs::write(&new, format!("{url}\n"))?;
            std::fs::rename(new, folder.join(name))?;
        }
        Ok(())
    }

    /// Closes every connection of the user that is there now.
    async fn close_connections(&self) -> anyhow::Result<()> {
        // Publishing from three processes, consuming in two of them.
        let open = eventually(
            "the broker tells of all connections",
            PATIENCE,
            async || {
                let open = self.amqp_connections().await.ok()?;
                (open.len() >= 5).then_some(open)
            },
        )
        .await?;
        for name in &open {
            let name = name.replace(' ', "%20").replace('>', "%3E");
            let path = format!("/api/connections/{name}");
            self.broker.api("DELETE", &path, "").await?;
        }
        self.redis(&["CLIENT", "KILL", "USER", &self.user]).await?;
        let user = &self.user;
        self.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"
        ))
        .await?;
        eventually("the broker has closed them", PATIENCE, async || {
            let now = self.amqp_connections().await.ok()?;
            open.iter().all(|name| !now.contains(name)).then_some(())
        })
        .await
    }

    async fn amqp_connections(&self) -> anyhow::Result<Vec<String>> {
        let all = self.broker.api("GET", "/api/connections", "").await?;
        let all: Vec<Value> = serde_json::from_str(&all)?;
        let ours = all
            .iter()
            .filter(|connection| connection["user"] == *self.user);
        ours.map(|connection| {
            let name = connection["name"].as_str().context("a name")?;
            Ok(name.to_owned())
        })
        .collect()
    }

    async fn redis(&self, words: &[&str]) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let (name, arguments) = words.split_first().context("a command")?;
        let mut command = redis::cmd(name);
        let _: redis::Value = command.arg(arguments).query_async(&mut connection).await?;
        Ok(())
    }

    async fn sql(&self, statement: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.postgres.url()).await?;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }
}

#[tokio::test]
async fn passwords_change_under_running_processes_and_the_work_goes_on() -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, servers.world()?).await?;
    let folder = pipeline.world.folder().to_owned();
    servers.set_password("first").await?;
    servers.write_files(&folder, "first")?;
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (amqp, redis, postgres) = (file("amqp"), file("redis"), file("postgres"));
    let environment = [
        ("QUITTANCE_CLUSTER__AMQP_URL_FILE", amqp.as_str()),
        ("QUITTANCE_CLUSTER__REDIS_URL_FILE", &redis),
        ("QUITTANCE_SHOP_DATABASE_FILE", &postgres),
    ];
    for stage in pipeline.stages() {
        pipeline.start_stage(stage, stage, &environment).await?;
    }
    pipeline
        .accept(&Ipn::payment("TXBEFORE", "MUG", 1, "9.90"))
        .await?;
    pipeline.settled("TXBEFORE", "completed").await?;

    servers.set_password("second").await?;
    servers.write_files(&folder, "second")?;
    servers.close_connections().await?;

    // The gateway sends again what was answered with 503.
    let after = Ipn::payment("TXAFTER", "MUG", 1, "9.90");
    eventually("ingest accepts again", PATIENCE, async || {
        (pipeline.send(&after).await.ok()? == 200).then_some(())
    })
    .await?;
    pipeline.settled("TXAFTER", "completed").await?;
    pipeline.mailed(2).await?;
    for secret in ["first@", "second@"] {
        ensure!(!pipeline.logs()?.contains(secret), "a password is logged");
    }
    for stage in pipeline.stages() {
        // An error if it had ended meanwhile.
        let mut process = pipeline.take(stage)?;
        let status = process.terminate(Duration::from_secs(15)).await?;
        ensure!(status.success(), "{stage}: {status}");
    }
    Ok(())
}
