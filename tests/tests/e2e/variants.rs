//! Stories of goods that come in several: variants that options select, and auctions of several
//! items.

use quittance_deploy::demo::body::Ipn;
use quittance_tests::{eventually, http};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};
use crate::returns;

on_both_engines!(
    each_variant_is_reserved_sold_and_put_back_by_itself,
    a_changed_option_is_refused_with_and_without_an_order,
    pdt_and_ipn_of_one_payment_mean_the_same_variant,
    an_auction_of_two_items_takes_both_and_thanks_once,
);

/// A tee in two sizes, and a dearer one.
const TEES: &str = "sku,name,price,currency,on_hand,item_number,options\n\
    TEE-L-RED,Tee red L,19.90,EUR,5,TEE,\"Size=L;Colour=red\"\n\
    TEE-M-RED,Tee red M,19.90,EUR,5,TEE,\"Size=M;Colour=red\"\n\
    TEE-GOLD,Tee gold,99.00,EUR,5,TEE,\"Size=L;Colour=gold\"\n";

impl Pipeline {
    async fn import_tees(&self) -> anyhow::Result<()> {
        let list = self.world.folder().join("tees.csv");
        std::fs::write(&list, TEES)?;
        self.quittance(&["stock", "import", &list.to_string_lossy()])
            .await?;
        Ok(())
    }

    async fn refused(&self, txn: &str) -> anyhow::Result<Value> {
        eventually(&format!("{txn} is refused"), PATIENCE, async || {
            let rows = self.listing(&["payments", "quarantined"]).await.ok()?;
            rows.into_iter().find(|row| row["txn_id"] == txn)
        })
        .await
    }
}

/// A payment for one tee, with what its buyer chose.
fn tee(txn: &str, size: &str, colour: &str, gross: &str) -> Ipn {
    Ipn::payment(txn, "TEE", 1, gross)
        .with("option_name1", "Size")
        .with("option_selection1", size)
        .with("option_name2", "Colour")
        .with("option_selection2", colour)
}

async fn each_variant_is_reserved_sold_and_put_back_by_itself(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.import_tees().await?;
    let rows = pipeline.listing(&["stock", "list"]).await?;
    let large = rows.iter().find(|row| row["sku"] == "TEE-L-RED");
    assert_eq!(
        large.map(|row| (&row["item_number"], &row["options"])),
        Some((&"TEE".into(), &"colour=red;size=l".into()))
    );
    let pending = tee("TXTEE1", "L", "red", "19.90")
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.accept(&pending).await?;
    pipeline.settled("TXTEE1", "pending").await?;
    assert_eq!(pipeline.stock("TEE-L-RED").await?, (5, 1, 0));
    assert_eq!(pipeline.stock("TEE-M-RED").await?, (5, 0, 0));

    pipeline
        .accept(&tee("TXTEE1", "l", " RED", "19.90"))
        .await?;
    pipeline.settled("TXTEE1", "completed").await?;
    assert_eq!(pipeline.stock("TEE-L-RED").await?, (4, 0, 0));

    let both = Ipn::cart(
        "TXTEE2",
        &[
            ("TEE".to_owned(), 2, "39.80".to_owned()),
            ("TEE".to_owned(), 1, "19.90".to_owned()),
            ("MUG".to_owned(), 1, "9.90".to_owned()),
        ],
        "69.60",
    );
    let both = [("1", "M"), ("2", "L")]
        .into_iter()
        .fold(both, |both, (line, size)| {
            both.with(&format!("option_name1_{line}"), "Size")
                .with(&format!("option_selection1_{line}"), size)
                .with(&format!("option_name2_{line}"), "Colour")
                .with(&format!("option_selection2_{line}"), "red")
        });
    pipeline.accept(&both).await?;
    pipeline.settled("TXTEE2", "completed").await?;
    assert_eq!(pipeline.stock("TEE-L-RED").await?, (3, 0, 0));
    assert_eq!(pipeline.stock("TEE-M-RED").await?, (3, 0, 0));

    pipeline
        .accept(&Ipn::refund("TXTEE2R", "TXTEE2", "-69.60"))
        .await?;
    pipeline.settled("TXTEE2", "refunded").await?;
    assert_eq!(pipeline.stock("TEE-L-RED").await?, (4, 0, 0));
    assert_eq!(pipeline.stock("TEE-M-RED").await?, (5, 0, 0));
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    Ok(())
}

async fn a_changed_option_is_refused_with_and_without_an_order(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.import_tees().await?;
    let order = [
        "orders",
        "add",
        "--id",
        "V-1",
        "--total",
        "19.90",
        "--currency",
        "EUR",
        "--line",
    ];
    let add = async |line: &str| {
        let mut arguments = order.to_vec();
        arguments.push(line);
        pipeline.quittance(&arguments).await
    };
    let unknown = add("TEE[Size=S;Colour=red]=1").await;
    let told = unknown.unwrap_or_else(|error| error.to_string());
    assert!(told.contains("no variant"), "{told}");
    add("TEE[Size=L;Colour=red]=1").await?;

    let other = tee("TXOPT1", "M", "red", "19.90").with("invoice", "V-1");
    pipeline.accept(&other).await?;
    let held = pipeline.refused("TXOPT1").await?;
    assert_eq!(held["reason"], "items_mismatch");
    assert_eq!(
        (&held["expected"], &held["found"]),
        (&"1 x TEE-L-RED".into(), &"1 x TEE-M-RED".into())
    );
    for (txn, size, colour, reason) in [
        ("TXOPT2", "L", "gold", "amount_mismatch"),
        ("TXOPT3", "S", "red", "options_mismatch"),
    ] {
        pipeline.accept(&tee(txn, size, colour, "19.90")).await?;
        assert_eq!(pipeline.refused(txn).await?["reason"], reason);
    }
    let right = tee("TXOPT4", "L", "red", "19.90").with("invoice", "V-1");
    pipeline.accept(&right).await?;
    pipeline.settled("TXOPT4", "completed").await?;
    assert_eq!(pipeline.stock("TEE-L-RED").await?, (4, 0, 0));
    for untouched in ["TEE-M-RED", "TEE-GOLD"] {
        assert_eq!(pipeline.stock(untouched).await?, (5, 0, 0), "{untouched}");
    }
    Ok(())
}

async fn pdt_and_ipn_of_one_payment_mean_the_same_variant(engine: Engine) -> anyhow::Result<()> {
    let pipeline = returns::start(engine, &[]).await?;
    pipeline.import_tees().await?;
    let ipn = tee("TXPDTTEE0001", "M", "red", "19.90");
    pipeline.sandbox.register(&ipn.bytes());
    let path = "/return/paypal/default?tx=TXPDTTEE0001";
    let page = http::once(pipeline.world.ingest(), "GET", path, "", b"").await?;
    assert_eq!(page.status, 200);
    let by_pdt = pipeline.settled("TXPDTTEE0001", "completed").await?;
    assert_eq!(by_pdt["flags"].as_array().map(Vec::len), Some(0));
    assert_eq!(pipeline.stock("TEE-M-RED").await?, (4, 0, 0));
    pipeline.accept(&ipn).await?;
    // What comes after it shows that it had no effect.
    let later = tee("TXPDTTEE0002", "M", "red", "19.90");
    pipeline.accept(&later).await?;
    pipeline.settled("TXPDTTEE0002", "completed").await?;
    assert_eq!(pipeline.stock("TEE-M-RED").await?, (3, 0, 0));
    assert_eq!(pipeline.stock("TEE-L-RED").await?, (5, 0, 0));
    Ok(())
}

async fn an_auction_of_two_items_takes_both_and_thanks_once(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let item = |sku: &str| {
        Ipn::payment("TXAUCTION1", sku, 1, "29.90")
            .with("for_auction", "true")
            .with("auction_buyer_id", "bidder1")
            .with("auction_multi_item", "2")
    };
    pipeline.accept(&item("POT")).await?;
    let first = pipeline.settled("TXAUCTION1", "completed").await?;
    assert_eq!(
        first["flags"],
        serde_json::json!(["auction", "auction_incomplete"])
    );
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    for sku in ["MUG", "POT", "MUG"] {
        pipeline.accept(&item(sku)).await?;
    }
    let whole = eventually("both items are told", PATIENCE, async || {
        let row = pipeline.payment("TXAUCTION1").await.ok()??;
        (row["events"] == 2).then_some(row)
    })
    .await?;
    assert_eq!(whole["flags"], serde_json::json!(["auction"]));
    assert_eq!(whole["amount"], "29.90");
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    let mails = pipeline.mailed(1).await?;
    assert_eq!(mails.len(), 1, "one mail, not one an item");
    Ok(())
}
