//! Which products are variants of which items, and what several items of one payment leave.

use futures_util::future::join_all;
use quittance_common::clock;
use quittance_common::event::{AuctionItem, PaymentEvent};
use quittance_common::ids::Sku;
use quittance_common::money::Money;
use quittance_common::shop::{ProductRow, Shop, ShopError, VariantChanges};
use quittance_common::variant::{Choice, Selection, Variant};

use super::{apply_at_last, completed, import, payment, stock};

fn sku(text: &str) -> Sku {
    text.parse().unwrap()
}

/// Imports one product, as a variant of `item` or of nothing.
async fn import_as(shop: &Shop, product: &str, of: Option<(&str, &str)>) -> Result<(), ShopError> {
    let row = ProductRow {
        sku: sku(product),
        name: "Hemd „Größe“".into(),
        price: Money::from_minor(1990, "EUR".parse().unwrap()),
        on_hand: 5,
    };
    let variant = of.map(|(item, options)| Variant {
        item: sku(item),
        options: options.parse().unwrap(),
    });
    let changes = VariantChanges::from([(sku(product), variant)]);
    shop.import_catalogue(&[row], &changes, clock::now()).await
}

async fn chosen(shop: &Shop, item: &str, options: &str) -> Option<String> {
    let item = sku(item);
    let variants = shop.variants([&item]).await.unwrap();
    let options: Selection = options.parse().unwrap();
    match variants.choose(&item, &options) {
        Choice::Variant { sku, .. } => Some(sku.to_string()),
        Choice::Item | Choice::Nothing => None,
    }
}

/// Umlauts, signs and all; another import leaves it alone unless it says otherwise.
pub(super) async fn a_product_is_found_by_its_options_until_it_is_no_variant_any_more(shop: &Shop) {
    for (product, options) in [
        ("shirt-l", r"Größe=L;Farbe=rot\;weiß"),
        ("shirt-m", r"Größe=M;Farbe=rot\;weiß"),
    ] {
        import_as(shop, product, Some(("shirt", options)))
            .await
            .unwrap();
    }
    let large = r"farbe=ROT\;WEISS;größe=l";
    assert_eq!(chosen(shop, "shirt", large).await, None, "ß is not ss");
    let large = r"farbe=ROT\;Weiß;GRÖSSE=l";
    assert_eq!(chosen(shop, "shirt", large).await, None);
    let large = r" FARBE = Rot\;weiß ; GRÖßE = l ";
    assert_eq!(
        chosen(shop, "shirt", large).await.as_deref(),
        Some("shirt-l")
    );
    assert_eq!(
        chosen(shop, "shirt-l", large).await,
        None,
        "a product of its own"
    );
    let row = stock(shop, "shirt-l").await;
    assert_eq!(
        (row.item_number.as_str(), row.options.as_str()),
        ("shirt", r"farbe=rot\;weiß;größe=l")
    );
    import(shop, &["shirt-l"], 7).await;
    assert_eq!(
        chosen(shop, "shirt", large).await.as_deref(),
        Some("shirt-l")
    );
    import_as(shop, "shirt-l", None).await.unwrap();
    assert_eq!(chosen(shop, "shirt", large).await, None);
    assert_eq!(stock(shop, "shirt-l").await.item_number, "");
}

/// Nothing of it is imported.
pub(super) async fn an_import_that_leaves_open_which_product_is_meant_changes_nothing(shop: &Shop) {
    import_as(shop, "beret-l", Some(("beret", "Size=L")))
        .await
        .unwrap();
    let red = import_as(shop, "beret-red", Some(("beret", "Colour=red"))).await;
    assert!(matches!(red, Err(ShopError::Variants(_))), "{red:?}");
    let again = import_as(shop, "beret-xl", Some(("beret", "SIZE=l"))).await;
    assert!(matches!(again, Err(ShopError::Variants(_))), "{again:?}");
    for (product, item) in [("beret", "hat"), ("beret-red", "beret-l")] {
        let both = import_as(shop, product, Some((item, "Size=L"))).await;
        assert!(
            matches!(both, Err(ShopError::VariantOfVariant(_))),
            "{both:?}"
        );
    }
    let products = shop.stock().await.unwrap();
    let berets = products.iter().filter(|row| row.sku.starts_with("beret"));
    assert_eq!(berets.count(), 1);
    // The same once more, and a more special one beside it, are no contradiction.
    import_as(shop, "beret-l", Some(("beret", "Size=L")))
        .await
        .unwrap();
    let gold = import_as(shop, "beret-l-gold", Some(("beret", "Size=L;Colour=gold"))).await;
    assert!(gold.is_ok(), "{gold:?}");
}

/// Five messages of one auction at the same instant, each with an item of its own.
pub(super) async fn the_items_of_one_auction_at_once_are_all_taken(shop: &Shop) {
    let skus = ["lot-1", "lot-2", "lot-3", "lot-4", "lot-5"];
    import(shop, &skus, 10).await;
    let events: Vec<PaymentEvent> = skus
        .iter()
        .map(|sku| {
            let mut part = completed("AUCTION1", &[sku], 2);
            part.key = format!("pp:sandbox:AUCTION1:completed::auction:{sku}")
                .parse()
                .unwrap();
            part.data.auction = Some(AuctionItem {
                items: 5,
                item: (*sku).to_owned(),
            });
            part
        })
        .collect();
    let twice = events.iter().chain(&events);
    join_all(twice.map(|event| apply_at_last(shop, event))).await;
    for sku in skus {
        assert_eq!(stock(shop, sku).await.on_hand, 8, "{sku}");
    }
    let row = payment(shop, "AUCTION1").await;
    assert_eq!((row.amount.as_str(), row.events), ("20.00", 5));
    assert!(row.flags.is_empty(), "{:?}", row.flags);
}
