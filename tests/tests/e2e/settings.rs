//! Bad settings, as an operator meets them: every mistake at once, where it came from, no secret.

use std::time::Duration;

use quittance_tests::process;

const BAD: &str = r#"
engine = "cluster"
shop_database = "postgres://shop:hunter2@localhost/shop"
shutdown_grace = "soon"
[cluster]
amqp_url = "http://user:hunter2@localhost"
[ingest]
listen = "nowhere"
colour = "blue"
[[account]]
id = "default"
gateway = "strype"
receivers = []
"#;

#[tokio::test]
async fn every_mistake_is_named_at_once_with_its_place_and_no_secret_is_shown() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("bad.toml"), BAD)?;
    for (binary, arguments) in [
        ("quittance", vec!["config", "check", "--config", "bad.toml"]),
        ("ingest", vec!["--config", "bad.toml"]),
        ("verifier", vec!["--config", "bad.toml"]),
        ("fulfiller", vec!["--config", "bad.toml"]),
    ] {
        let output =
            process::run(binary, &arguments, folder.path(), Duration::from_secs(20)).await?;
        assert_eq!(output.status.code(), Some(78), "{binary}");
        let told = String::from_utf8(output.stderr)?;
        for key in [
            "shutdown_grace",
            "cluster.amqp_url",
            "ingest.listen",
            "ingest.colour",
            "account.0.gateway",
            "account.0.receivers",
        ] {
            assert!(told.contains(key), "{binary} does not name {key}:\n{told}");
        }
        assert!(
            told.contains("bad.toml"),
            "{binary} does not say where:\n{told}"
        );
        assert!(
            !told.contains("hunter2"),
            "{binary} shows a secret:\n{told}"
        );
    }
    Ok(())
}
