use crate::service::Service;
use footfall_event::schema::Table;
use std::time::Instant;
#[tokio::test]
async fn timing() {
    let service = Service::start().await;
    for n in 0..40 {
        service
            .commit(
                Table::Events,
                &format!("{{\"event_id\":\"e{n}\",\"event_date\":\"2026-11-22\"}}\n"),
            )
            .await;
    }
    for sql in [
        "SELECT 1",
        "SELECT count(*) FROM events",
        "SELECT event_date, count(DISTINCT event_id) FROM events GROUP BY 1",
        "SELECT * FROM abandonment",
    ] {
        let mut times: Vec<f64> = vec![];
        for _ in 0..30 {
            let a = Instant::now();
            service.rows(sql).await;
            times.push(a.elapsed().as_secs_f64() * 1e3);
        }
        let first = times[0];
        times.sort_by(f64::total_cmp);
        eprintln!("{sql}: first {first:.1} median {:.1} min {:.1} ms", times[15], times[0]);
    }
}
