//! docs/functions.md has a heading for every function, and an example under each.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::service::Service;

const FUNCTIONS: &str = include_str!("../../../../docs/functions.md");
/// Replaced before a statement is planned, so the engine does not list them.
const AFTER_FROM: [&str; 5] = ["funnel", "funnel_visitors", "needs", "paths", "retention"];
/// For what those stand for to call, and for nobody else.
const INTERNAL: [&str; 6] = [
    "funnel_trials",
    "funnel_report",
    "funnel_outcomes",
    "need_episode",
    "journey_path",
    "journey_returns",
];
const ROUTINES: &str =
    "SELECT DISTINCT CAST(routine_name AS TEXT) AS name FROM information_schema.routines";

/// Each heading that is a call, such as ``### `funnel(step, …)`: …``, as its name and what stands below.
fn sections() -> Vec<(&'static str, &'static str)> {
    let sections = FUNCTIONS.split("\n### `").skip(1).filter_map(|section| {
        let (heading, below) = section.split_once('\n')?;
        let (call, _) = heading.split_once('`')?;
        let below = below.split("\n## ").next()?;
        Some((call.split_once('(')?.0, below))
    });
    sections.collect()
}

/// The functions that DataFusion has by itself.
async fn of_datafusion() -> BTreeSet<String> {
    let config = SessionConfig::new().with_information_schema(true);
    let answer = SessionContext::new_with_config(config).sql(ROUTINES).await.unwrap();
    let mut names = BTreeSet::new();
    for batch in answer.collect().await.unwrap() {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8);
        names.extend(column.unwrap().as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    names
}

#[tokio::test]
async fn every_function_has_a_heading() {
    let service = Service::start().await;
    for name in AFTER_FROM {
        let (_, error) = service.error(&format!("SELECT * FROM {name}(nonsense => 1)")).await;
        assert!(error.to_string().contains("no argument `nonsense`"), "{name}: {error}");
    }
    let own = of_datafusion().await;
    let registered = service.rows(ROUTINES).await;
    let registered = registered.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap());
    let mut wanted: BTreeSet<&str> = registered.filter(|name| !own.contains(*name)).collect();
    wanted.extend(AFTER_FROM);
    wanted.retain(|name| !INTERNAL.contains(name));
    let told: BTreeSet<&str> = sections().into_iter().map(|(name, _)| name).collect();
    assert_eq!(told, wanted);
}

#[test]
fn every_function_has_an_example() {
    let has_example = |name: &str, below: &str| {
        let mut blocks =
            below.split("```sql\n").skip(1).filter_map(|block| block.split("```").next());
        blocks.any(|sql| sql.contains(&format!("{name}(")))
    };
    let sections = sections();
    assert!(sections.len() >= AFTER_FROM.len(), "{sections:?}");
    let without: Vec<&str> = sections
        .into_iter()
        .filter(|(name, below)| !has_example(name, below))
        .map(|(name, _)| name)
        .collect();
    assert!(without.is_empty(), "no example of {without:?} in docs/functions.md");
}
