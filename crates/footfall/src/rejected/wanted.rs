//! Which rows of `rejected` are meant, as SQL.

use footfall_event::parse_time;

use crate::arguments::RejectedFilter;
use crate::exit::CalledWrongly;

/// The condition of a filter.
///
/// # Errors
/// A time that is none.
pub fn condition(filter: &RejectedFilter) -> Result<String, CalledWrongly> {
    let mut conditions = Vec::new();
    for (column, wanted) in [("reason", &filter.reason), ("site", &filter.site)] {
        if let Some(wanted) = wanted {
            conditions.push(format!("{column} = {}", quoted(wanted)));
        }
    }
    for (flag, sign, time) in [("--since", ">=", &filter.since), ("--until", "<", &filter.until)] {
        if let Some(time) = time {
            let at = parse_time(time).map_err(|why| CalledWrongly(format!("{flag}: {why}")))?;
            conditions.push(format!(
                "received_time {sign} CAST({} AS TIMESTAMP)",
                quoted(&at.to_string())
            ));
        }
    }
    Ok(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
}

/// The condition of one row, by its place.
///
/// # Errors
/// A place that is none.
pub fn at(place: &str) -> Result<String, CalledWrongly> {
    let wrong = || {
        CalledWrongly(format!(
            "`{place}` is not PARTITION/OFFSET, such as 2/1234; `list --rows` tells them"
        ))
    };
    let (partition, offset) = place.split_once('/').ok_or_else(wrong)?;
    let partition: u32 = partition.parse().map_err(|_| wrong())?;
    let offset: u64 = offset.parse().map_err(|_| wrong())?;
    Ok(format!("(log_partition = {partition} AND log_offset = {offset} AND log NOT LIKE 'load:%')"))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_data_and_never_sql() {
        let filter = RejectedFilter {
            reason: Some("missing".to_owned()),
            site: Some("a' OR 'b".to_owned()),
            since: Some("2026-11-28T06:00:00Z".to_owned()),
            until: None,
        };
        assert_eq!(
            condition(&filter).unwrap(),
            "reason = 'missing' AND site = 'a'' OR ''b' AND \
             received_time >= CAST('2026-11-28T06:00:00.000000Z' AS TIMESTAMP)"
        );
        assert_eq!(condition(&RejectedFilter::default()).unwrap(), "true");
        let bad = RejectedFilter { until: Some("noon".to_owned()), ..Default::default() };
        assert!(condition(&bad).unwrap_err().to_string().starts_with("--until: `noon`"));
    }

    #[test]
    fn a_place_is_two_numbers() {
        assert!(at("2/1234").unwrap().contains("log_partition = 2 AND log_offset = 1234"));
        for bad in ["2", "2/", "/3", "a/b", "-1/2", "1/2 OR true"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
