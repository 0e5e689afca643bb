//! Many commits, compacted: the same rows in few files, in order.

use footfall_event::schema::Table;

use super::*;
use crate::testing::{Shop, at};

const COMMITS: usize = 20;

async fn files_of(shop: &Shop, table: Table) -> usize {
    TableWriter::open(&shop.lake, table).await.unwrap().files().unwrap().len()
}

async fn all_rows(shop: &Shop, table: Table) -> Vec<String> {
    let mut rows = shop.ask(&format!("SELECT * FROM {}", table.name())).await;
    rows.sort();
    rows
}

#[tokio::test]
async fn many_files_become_one_with_the_same_rows() {
    let shop = Shop::new().await;
    for number in (0..COMMITS).rev() {
        let visitor = format!(r#""visitor_id":"v{number:02}""#);
        let line =
            at(number as u32, &format!("e{number}"), "").replace(r#""visitor_id":"v""#, &visitor);
        shop.load(&format!("load-{number}"), &[&line]).await;
    }
    let tables = [Table::Events, Table::Sessions, Table::PageViews, Table::Receipts];
    for table in tables {
        let before = all_rows(&shop, table).await;
        assert_eq!((before.len() >= COMMITS, files_of(&shop, table).await), (true, COMMITS));
        let done = compact(&shop.lake, table).await.unwrap();
        assert_eq!((done.replaced, done.written, done.is_overtaken), (COMMITS, 1, false));
        assert_eq!(files_of(&shop, table).await, 1);
        assert_eq!(all_rows(&shop, table).await, before);
        assert_eq!(compact(&shop.lake, table).await.unwrap(), Compacted::default());
    }
    let visitors = shop.ask("SELECT visitor_id FROM events").await;
    assert!(visitors.is_sorted(), "{visitors:?}");
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!(verified.listed, Vec::<String>::new());
}

/// Too few are not worth it.
#[tokio::test]
async fn few_files_are_left_as_they_are() {
    let shop = Shop::new().await;
    shop.load("one", &[&at(0, "a", "")]).await;
    assert_eq!(compact(&shop.lake, Table::Events).await.unwrap(), Compacted::default());
    assert_eq!(files_of(&shop, Table::Events).await, 1);
}
