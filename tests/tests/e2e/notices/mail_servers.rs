//! Mail servers that want no mail at all, and books that go away in the instant of sending.

use quittance_tests::servers::smtp::{Answer, Step};
use quittance_tests::{ChaosProxy, Mode, Postgres, RabbitMq, Redis, SmtpSink, World, eventually};

use super::{by_smtp, delivered, mailing, mug};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    what_a_mail_server_refuses_before_it_hears_of_the_mail_is_tried_until_it_is_mended,
);

async fn what_a_mail_server_refuses_before_it_hears_of_the_mail_is_tried_until_it_is_mended(
    engine: Engine,
) -> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    sink.answer(Answer::RefuseAt(Step::Login, 535));
    let url = sink.url().replace("smtp://", "smtp://shop:old-password@");
    let pipeline = mailing(engine, &url).await?;
    pipeline.accept(&mug("TXLOGIN")).await?;
    let label = ["outcome=\"retried\""];
    let mut before = 0;
    for refusal in [
        Answer::RefuseAt(Step::Login, 535),
        Answer::RefuseAt(Step::Connect, 554),
        Answer::RefuseAt(Step::Sender, 550),
        Answer::RefuseAt(Step::Recipient, 530),
    ] {
        sink.answer(refusal);
        before = eventually("it is tried once more", PATIENCE, async || {
            let count = pipeline.metric("quittance_effects_total", &label).await;
            (count > before + 1).then_some(count)
        })
        .await?;
    }
    assert_eq!(pipeline.depth("notify.dead").await?, 0);
    sink.answer(Answer::Accept);
    delivered(&sink, 1).await?;
    pipeline.drained().await?;
    assert_eq!(sink.messages().len(), 1);
    Ok(())
}

/// The books are on a server that can go away by itself only in a cluster.
#[tokio::test]
async fn books_that_go_away_between_sending_and_recording_cost_no_second_mail() -> anyhow::Result<()>
{
    let sink = SmtpSink::start().await?;
    sink.answer(Answer::Hold);
    let databases = Postgres::shared().await?;
    let url = databases.database("notices_blip").await?;
    let mut way = ChaosProxy::start(databases.address()).await?;
    let (there, here) = (databases.address().to_string(), way.address().to_string());
    let amqp = RabbitMq::shared().await?.vhost("notices_blip").await?;
    let world = World::cluster_on(&amqp, &Redis::shared().await?, &url)?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, world).await?;
    let through = url.replace(&there, &here);
    let smtp = sink.url();
    let mut more = by_smtp(&smtp).to_vec();
    more.push(("QUITTANCE_SHOP_DATABASE", through.as_str()));
    for stage in ["ingest", "verifier"] {
        pipeline.start_stage(stage, stage, &[]).await?;
    }
    pipeline
        .start_stage("fulfiller", "fulfiller", &more)
        .await?;
    pipeline.accept(&mug("TXBLIP")).await?;
    delivered(&sink, 1).await?;
    way.set(Mode::Refuse).await?;
    sink.answer(Answer::Accept);
    eventually("the record fails", PATIENCE, async || {
        let logs = pipeline.logs().ok()?;
        logs.contains("shop database").then_some(())
    })
    .await?;
    // Whoever waited for the sender waits no longer.
    pipeline.sender_forgotten("TXBLIP", "mail_received").await?;
    way.set(Mode::Pass).await?;
    pipeline.drained().await?;
    assert_eq!(sink.messages().len(), 1);
    let story = pipeline.quittance(&["payments", "show", "TXBLIP"]).await?;
    assert!(story.contains("sent"), "{story}");
    Ok(())
}
