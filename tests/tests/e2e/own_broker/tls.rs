//! A broker and a Redis that speak TLS only to us, with certificates of an authority that only a folder
//! names, as the pods of `deploy/kubernetes` have it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, ensure};
use quittance_deploy::demo::body::Ipn;
use quittance_deploy::local::{packages, servers};
use quittance_tests::certificates::Authority;
use quittance_tests::daemon::Daemon;
use quittance_tests::{Postgres, Process, RabbitMq, World, eventually, ports};
use rustix::process::Signal;

use crate::pipeline::{Engine, PATIENCE, Pipeline};

/// A node that listens with TLS as well, and the ports of AMQP and of the HTTP API.
async fn broker(authority: &Authority) -> anyhow::Result<(RabbitMq, u16, u16)> {
    let (amqp, api) = (ports::free()?, ports::free()?);
    let files = |of: &str| {
        format!(
            "{of}.cacertfile = {}\n{of}.certfile = {}\n{of}.keyfile = {}\n",
            authority.certificate().display(),
            authority.server_certificate().display(),
            authority.server_key().display()
        )
    };
    let conf = format!(
        "listeners.ssl.1 = 127.0.0.1:{amqp}\n{}ssl_options.verify = verify_none\n\
         management.ssl.ip = 127.0.0.1\nmanagement.ssl.port = {api}\n{}",
        files("ssl_options"),
        files("management.ssl")
    );
    Ok((RabbitMq::start_with(&conf).await?, amqp, api))
}

/// A Redis that speaks nothing but TLS, and its port.
fn redis(authority: &Authority) -> anyhow::Result<(Daemon, u16)> {
    let port = ports::free()?;
    let folder = authority.trusted().join("..");
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut command = servers::redis::server(&packages::redis()?, nowhere, &folder, None);
    command.args(["--tls-auth-clients", "no", "--tls-port", &port.to_string()]);
    command
        .arg("--tls-ca-cert-file")
        .arg(authority.certificate());
    command
        .arg("--tls-cert-file")
        .arg(authority.server_certificate());
    command.arg("--tls-key-file").arg(authority.server_key());
    let log = folder.join("redis.log");
    Ok((Daemon::spawn("Redis", command, &log, Signal::KILL)?, port))
}

#[tokio::test]
async fn broker_and_redis_of_an_authority_of_ones_own_are_trusted_by_its_folder_beside_the_list()
-> anyhow::Result<()> {
    let (ours, public) = (Authority::new("ours")?, Authority::new("public")?);
    let (_redis, redis_port) = redis(&ours)?;
    let (_broker, amqp_port, api_port) = broker(&ours).await?;
    let amqp = format!("amqps://guest:guest@127.0.0.1:{amqp_port}/%2f");
    let redis_url = format!("rediss://127.0.0.1:{redis_port}");
    let shop = Postgres::shared().await?.database("tls").await?;
    let world = World::cluster_on(&amqp, &redis_url, &shop)?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, world).await?;
    // What the image brings, and the folder of the Secret; a certificate of the one signs nothing here.
    let list = public.certificate().display().to_string();
    let folder = ours.trusted().display().to_string();
    let trust = [
        ("SSL_CERT_FILE", list.as_str()),
        ("SSL_CERT_DIR", folder.as_str()),
    ];

    let api = format!("https://guest:guest@localhost:{api_port}");
    let apply = |name, environment: &[(&str, &str)]| {
        let settings = pipeline.world.write_settings()?.display().to_string();
        let arguments = ["topology", "apply", "--config", &settings];
        let with_api = [
            &[("QUITTANCE_CLUSTER__MANAGEMENT_URL", api.as_str())],
            environment,
        ]
        .concat();
        Process::spawn(
            "quittance",
            name,
            &arguments,
            &with_api,
            pipeline.world.folder(),
        )
    };
    let mut applied = apply("topology", &trust)?;
    let status = applied.wait(PATIENCE).await?;
    ensure!(status.success(), "{}", applied.output()?);

    for stage in ["ingest", "verifier", "fulfiller"] {
        pipeline.start_stage(stage, stage, &trust).await?;
    }
    let paid = Ipn::payment("TXTLS", "MUG", 1, "9.90");
    pipeline.accept(&paid).await?;
    pipeline.settled("TXTLS", "completed").await?;

    // The list alone does not do.
    let settings = pipeline.world.write_settings()?.display().to_string();
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)).to_string();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)).to_string();
    let environment = [
        ("SSL_CERT_FILE", list.as_str()),
        ("QUITTANCE_ADMIN__LISTEN", &admin),
        ("QUITTANCE_INGEST__LISTEN", &listen),
    ];
    let arguments = ["--config", settings.as_str()];
    let folder = pipeline.world.folder();
    let stranger = Process::spawn("ingest", "stranger", &arguments, &environment, folder)?;
    let refused = eventually("it does not trust the broker", PATIENCE, async || {
        let said = stranger.output().ok()?;
        said.contains("UnknownIssuer").then_some(())
    });
    refused
        .await
        .with_context(|| stranger.output().unwrap_or_default())
}
