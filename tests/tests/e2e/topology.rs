//! `quittance topology apply` and `check` against a real broker.

use std::time::Duration;

use quittance_common::queue::QueueNames;
use quittance_common::settings::ClusterSettings;
use quittance_deploy::topology::{Finding, Severity, apply, check};
use quittance_tests::eventually::eventually;
use quittance_tests::servers;

fn differences(findings: Vec<Finding>) -> Vec<String> {
    findings
        .into_iter()
        // Redis is not part of this story.
        .filter(|finding| finding.severity == Severity::Difference && finding.subject != "redis")
        .map(|finding| format!("{}: {}", finding.subject, finding.text))
        .collect()
}

#[tokio::test]
async fn apply_makes_a_bare_broker_pass_the_check_and_a_lost_policy_is_told() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let url = broker.vhost("topology").await.unwrap();
    let vhost = url.rsplit('/').next().unwrap().to_owned();
    let settings = ClusterSettings {
        amqp_url: url.into(),
        redis_url: "redis://127.0.0.1:1".into(),
        management_url: Some(broker.management_url().into()),
        publish_channels: 1,
        publish_timeout: Duration::from_secs(5),
        heartbeat: Duration::from_secs(5),
    };
    let names = QueueNames::default();
    let bare = differences(check(&settings, &names).await.unwrap());
    assert_eq!(bare.len(), names.all().len() + 2, "{bare:?}");

    apply(&settings, &names).await.unwrap();
    // The HTTP API's figures are some seconds old.
    let patience = Duration::from_secs(30);
    eventually("no differences", patience, async || {
        let found = check(&settings, &names).await.ok()?;
        differences(found).is_empty().then_some(())
    })
    .await
    .unwrap();

    let policy = format!("/api/policies/{vhost}/ipn.verify");
    broker.api("DELETE", &policy, "").await.unwrap();
    let told = eventually("the lost policy", patience, async || {
        let found = differences(check(&settings, &names).await.ok()?);
        (!found.is_empty()).then_some(found)
    })
    .await
    .unwrap();
    assert!(
        told.contains(&"ipn.verify: no policy sets delivery-limit; it should be 20".to_owned())
    );
}
