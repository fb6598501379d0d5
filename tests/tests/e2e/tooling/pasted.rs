//! Bodies that a person has copied from the gateway's history: verified, and applied once.

use quittance_tests::process;

use quittance_deploy::demo::body::Ipn;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(trap_85_pasted_bodies_are_verified_and_repeat_no_effect,);

/// Trap 85: what the gateway has given up resending is there only as text in its history.
async fn trap_85_pasted_bodies_are_verified_and_repeat_no_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let known = Ipn::payment("TXSEEN", "MUG", 1, "9.90");
    pipeline.accept(&known).await?;
    pipeline.settled("TXSEEN", "completed").await?;
    let lost = Ipn::payment("TXMISSED", "MUG", 2, "19.80").with("first_name", "Jürgen");
    pipeline.sandbox.register(&lost.bytes());
    let forged = Ipn::payment("TXFORGED", "MUG", 3, "29.70");
    let pasted = [known.bytes(), lost.bytes(), forged.bytes()].join(&b"\r\n"[..]);
    let folder = pipeline.world.folder();
    std::fs::write(folder.join("pasted.txt"), pasted)?;
    let to = format!("{}/ipn/paypal/default", pipeline.world.ingest_url());
    let words = ["send", "pasted.txt", "--lines", "--to", &to, "--json"];
    let output = process::run("quittance", &words, folder, PATIENCE).await?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(text.matches("\"status\":200").count(), 3, "{text}");
    pipeline.settled("TXMISSED", "completed").await?;
    pipeline.parked("invalid", 1).await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (7, 0, 0));
    assert_eq!(pipeline.payment("TXFORGED").await?, None);
    pipeline.mailed(2).await?;
    // Once more changes nothing; where nobody listens is told for each.
    let again = process::run("quittance", &words, folder, PATIENCE).await?;
    assert!(again.status.success(), "{again:?}");
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (7, 0, 0));
    let words = [
        "send",
        "pasted.txt",
        "--lines",
        "--to",
        "http://127.0.0.1:1/",
        "--json",
    ];
    let refused = process::run("quittance", &words, folder, PATIENCE).await?;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(String::from_utf8(refused.stdout)?.lines().count(), 3);
    Ok(())
}
