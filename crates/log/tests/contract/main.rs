//! The contract of an event log: one suite, run on the local disk and on a real Kafka, and what
//! each of the two promises alone. Kafka is started by `tests/kafka/kafka`; without it these fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod harness;
mod kafka;
mod kafka_broker;
mod kafka_by_hand;
mod kafka_source;
mod local;
mod local_crash;
mod local_torn;
mod suite;
mod suite_reading;

/// Runs each function of the suites on both logs.
macro_rules! contract {
    ($($suite:ident: $($test:ident),* $(,)?;)*) => {
        mod on_local_disk {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$suite::$test(&crate::local::LocalHarness::new()).await;
            })*)*
        }
        mod on_kafka {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$suite::$test(&crate::kafka::KafkaHarness::new(stringify!($test)).await).await;
            })*)*
        }
    };
}

contract! {
    suite:
        offsets_are_dense_from_zero_in_order_of_append,
        concurrent_appenders_lose_and_double_nothing,
        a_large_batch_is_appended_whole,
        an_empty_append_is_answered_with_nothing,
        a_record_that_is_too_large_is_refused_whole,
        a_partition_that_does_not_exist_is_refused,
        append_times_do_not_step_back,
        published_records_are_readable,
        a_reopened_log_goes_on_where_it_stopped,
        an_open_log_is_ready,
        a_full_queue_has_no_room_until_it_is_written;
    suite_reading:
        records_of_all_kinds_are_read_back_equal,
        nothing_is_delivered_before_start,
        reading_starts_in_the_middle_and_again_before_it,
        a_waiting_reader_gets_what_is_appended,
        an_empty_log_is_idle,
        bounds_and_single_records_agree_with_what_was_appended,
        reading_beyond_the_end_is_told_as_gone,
        an_offset_below_the_first_is_never_read_from_the_first,
        released_offsets_are_taken;
}
