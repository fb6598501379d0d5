//! Which products are variants of which items.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, Row as _};

use super::{Shop, ShopError};
use crate::ids::Sku;
use crate::variant::{Variant, Variants};

/// What products are to be variants of; `None`: of nothing any more. Others stay as they are.
pub type VariantChanges = BTreeMap<Sku, Option<Variant>>;

impl Shop {
    /// The variants of each of `items`; those of an item that has none are missing from the answer.
    pub async fn variants<'a>(
        &self,
        items: impl IntoIterator<Item = &'a Sku>,
    ) -> Result<Variants, ShopError> {
        let doing = "looking variants up";
        let items: BTreeSet<&Sku> = items.into_iter().collect();
        let mut variants = Variants::default();
        if items.is_empty() {
            return Ok(variants);
        }
        let pool = self.pool().await?;
        let mut connection = pool.acquire().await.map_err(ShopError::during(doing))?;
        for item in items {
            read(&mut connection, item, &mut variants).await?;
        }
        Ok(variants)
    }
}

/// Writes `changes`, whose products are there, if options still say which product is meant.
pub(super) async fn write(
    connection: &mut AnyConnection,
    changes: &VariantChanges,
) -> Result<(), ShopError> {
    let doing = "writing variants";
    for sku in changes.keys() {
        sqlx::query("DELETE FROM product_variant WHERE sku = $1")
            .bind(sku.as_str())
            .execute(&mut *connection)
            .await
            .map_err(ShopError::during(doing))?;
    }
    let said = || {
        let said = changes.iter();
        said.filter_map(|(sku, variant)| Some((sku, variant.as_ref()?)))
    };
    let mut all = Variants::default();
    let items: BTreeSet<&Sku> = said().map(|(_, variant)| &variant.item).collect();
    for item in items {
        read(connection, item, &mut all).await?;
    }
    for (sku, variant) in said() {
        all.add(sku.clone(), variant.clone());
    }
    all.unambiguous()?;
    for (sku, Variant { item, options }) in said() {
        sqlx::query("INSERT INTO product_variant (sku, item, options) VALUES ($1, $2, $3)")
            .bind(sku.as_str())
            .bind(item.as_str())
            .bind(options.to_string())
            .execute(&mut *connection)
            .await
            .map_err(ShopError::during(doing))?;
    }
    // A payment link names the variant as the item: it must not be asked for options again.
    let both = sqlx::query(
        "SELECT v.sku FROM product_variant v \
         WHERE EXISTS (SELECT 1 FROM product_variant i WHERE i.item = v.sku) ORDER BY v.sku",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(ShopError::during(doing))?;
    let Some(row) = both else {
        return Ok(());
    };
    let sku: String = row.try_get(0).map_err(ShopError::during(doing))?;
    Err(ShopError::VariantOfVariant(sku))
}

async fn read(
    connection: &mut AnyConnection,
    item: &Sku,
    variants: &mut Variants,
) -> Result<(), ShopError> {
    let doing = "reading variants";
    let rows = sqlx::query("SELECT sku, options FROM product_variant WHERE item = $1 ORDER BY sku")
        .bind(item.as_str())
        .fetch_all(connection)
        .await
        .map_err(ShopError::during(doing))?;
    for row in &rows {
        let sku: String = row.try_get(0).map_err(ShopError::during(doing))?;
        let options: String = row.try_get(1).map_err(ShopError::during(doing))?;
        let variant = Variant {
            item: item.clone(),
            options: options.parse().map_err(ShopError::unreadable("options"))?,
        };
        let sku = sku.parse().map_err(ShopError::unreadable("sku"))?;
        variants.add(sku, variant);
    }
    Ok(())
}
