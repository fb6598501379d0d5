//! What ingest answers to what is not a notification, over real HTTP.

use quittance_deploy::demo::body::Ipn;
use quittance_tests::http;

use crate::pipeline::{Engine, Pipeline, on_both_engines};

on_both_engines!(what_is_no_notification_is_refused_and_leaves_nothing_behind);

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

async fn what_is_no_notification_is_refused_and_leaves_nothing_behind(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let ingest = pipeline.world.ingest();
    let body = Ipn::payment("TXHTTP", "MUG", 1, "9.90").bytes();
    let large = vec![b'a'; 65_537];
    let json = "Content-Type: application/json\r\n";
    let cases: [(&str, &str, &str, &[u8], u16); 9] = [
        ("POST", "/ipn/paypal/default", FORM, &large, 413),
        ("POST", "/ipn/paypal/default", json, &body, 415),
        ("POST", "/ipn/paypal/default", "", &body, 415),
        ("POST", "/ipn/paypal/default", FORM, b"", 400),
        ("POST", "/ipn/stripe/default", FORM, &body, 404),
        ("POST", "/ipn/paypal/nobody", FORM, &body, 404),
        ("POST", "/elsewhere", FORM, &body, 404),
        ("GET", "/ipn/paypal/default", "", b"", 405),
        ("PUT", "/ipn/paypal/default", FORM, &body, 405),
    ];
    for (method, path, headers, body, expected) in cases {
        let answer = http::once(ingest, method, path, headers, body).await?;
        assert_eq!(answer.status, expected, "{method} {path} {headers}");
        if expected == 405 {
            assert_eq!(answer.header("allow"), Some("POST"));
        }
    }
    let with_charset = "Content-Type: application/x-www-form-urlencoded; charset=windows-1252\r\n";
    pipeline.sandbox.register(&body);
    let answer = http::once(ingest, "POST", "/ipn/paypal/default", with_charset, &body).await?;
    assert_eq!(answer.status, 200);
    pipeline.settled("TXHTTP", "completed").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.listing(&["payments", "list"]).await?.len(), 1);
    Ok(())
}
