//! The shop database's promises, on both databases.

use quittance_common::settings::ShopDatabase;
use quittance_common::shop::Shop;
use quittance_tests::contract_shop;
use quittance_tests::servers::Postgres;

#[tokio::test]
async fn the_books_are_right_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = ShopDatabase::Sqlite(folder.path().join("shop.sqlite"));
    contract_shop::all(&Shop::open(&file).await.unwrap()).await;
}

#[tokio::test]
async fn the_books_are_right_on_postgresql() {
    let server = Postgres::start().await.unwrap();
    let database = ShopDatabase::Postgres(server.url().into());
    contract_shop::all(&Shop::open(&database).await.unwrap()).await;
}

#[tokio::test]
async fn processes_that_start_together_make_the_tables_once() {
    let server = Postgres::start().await.unwrap();
    let database = ShopDatabase::Postgres(server.url().into());
    let opened = futures_util::future::join_all((0..8).map(|_| Shop::open(&database))).await;
    for shop in opened {
        assert!(shop.is_ok(), "{shop:?}");
    }
}
