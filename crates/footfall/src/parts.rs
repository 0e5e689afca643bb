//! The parts of Footfall as processes: which listens where, on which log and lake, and how they stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use footfall_guard::Guard;
use footfall_ingest::IngestSettings;
use footfall_lake::{Lake, LakeSettings};
use footfall_log::{EventLog, KafkaLog, KafkaSettings, LocalLog, LocalSettings};
use footfall_pipeline::{Health, Pipeline, Shown};
use footfall_query::{Engine, QuerySettings};
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::bridges::{self, MappedTopic};
use crate::config::{Config, process_environment};
use crate::exit::CalledWrongly;
use crate::operator;
use crate::own_pipeline::OwnPipeline;
use crate::query_process::{self, QueryListeners, QueryProcess};
use crate::reload::{self, follow_rules};
use crate::settings::{ingest_settings, pipeline_settings, query_settings};

/// Threads on which the pipeline writes files and talks to the store, beside that of the fold.
const PIPELINE_THREADS: usize = 2;

/// `footfall up`: all parts, queries in a process of their own.
///
/// # Errors
/// What keeps a part from starting, or made it stop.
pub async fn up(config: Config) -> anyhow::Result<()> {
    let mut parts = Parts { reload: reload::listen()?, ..Parts::default() };
    refuse_brokers(&config)?;
    let (tls, sql, mut signals) = (
        access::tls(config.ingest.tls.as_ref())?,
        access::query(&config)?,
        access::pipeline(&config)?,
    );
    let (ingest, query, pipeline) = (
        bind(&config.ingest.listen).await?,
        bind_query(&config).await?,
        bind(&config.pipeline.listen).await?,
    );
    let addresses = (ingest.local_addr()?, query.http.local_addr()?, pipeline.local_addr()?);
    let postgres = query.postgres.local_addr()?;
    access::require_keys(&config, addresses.0)?;
    access::require_guard("SQL", &sql, addresses.1)?;
    access::require_guard("SQL", &sql, postgres)?;
    access::require_guard("signals", &signals, addresses.2)?;
    let own_pipeline = OwnPipeline::new(&config, addresses.2, &mut signals)?;
    let urls = [
        (tls.scheme(), addresses.0),
        (sql.tls.scheme(), addresses.1),
        (signals.tls.scheme(), addresses.2),
    ];
    let (settings, bridges) = (ingest_settings(&config)?, bridges::read(&config)?);
    let lake = made_lake(&config).await?;
    let log = local_log(&config).await?;
    parts.operator(log.clone(), settings.clone(), &config);
    parts.ingest(ingest, IngestSettings { tls, ..settings }, log.clone(), bridges)?;
    parts.pipeline(pipeline, signals, log, lake, &config).await?;
    parts.query_process(query, own_pipeline, &config)?;
    welcome(urls.map(|(scheme, address)| format!("{scheme}://{address}")), postgres, &config);
    parts.supervise().await
}

/// `footfall ingest`: the collector on Kafka.
///
/// # Errors
/// As [`up`].
pub async fn ingest(config: Config) -> anyhow::Result<()> {
    let brokers = require_brokers(&config)?;
    let tls = access::tls(config.ingest.tls.as_ref())?;
    let listener = bind(&config.ingest.listen).await?;
    let (scheme, address) = (tls.scheme(), listener.local_addr()?);
    access::require_keys(&config, address)?;
    let settings = IngestSettings { tls, ..ingest_settings(&config)? };
    let bridges = bridges::read(&config)?;
    let log = kafka_log(&config, brokers).await?;
    let mut parts = Parts::default();
    parts.ingest(listener, settings, log, bridges)?;
    println!("post events to   {scheme}://{address}/v1/events");
    parts.supervise().await
}

/// `footfall pipeline`: the fold on Kafka and a lake.
///
/// # Errors
/// As [`up`].
pub async fn pipeline(config: Config) -> anyhow::Result<()> {
    let mut parts = Parts { reload: reload::listen()?, ..Parts::default() };
    let brokers = require_brokers(&config)?;
    let guard = access::pipeline(&config)?;
    let listener = bind(&config.pipeline.listen).await?;
    let (scheme, address) = (guard.tls.scheme(), listener.local_addr()?);
    access::require_guard("signals", &guard, address)?;
    let lake = made_lake(&config).await?;
    let log = kafka_log(&config, brokers).await?;
    parts.pipeline(listener, guard, log, lake, &config).await?;
    println!("signals come at  {scheme}://{address}/v1/signals");
    parts.supervise().await
}

/// `footfall query`: SQL over a lake.
///
/// # Errors
/// As [`up`].
pub async fn query(config: Config) -> anyhow::Result<()> {
    let guard = access::query(&config)?;
    let listeners = bind_query(&config).await?;
    let (scheme, address) = (guard.tls.scheme(), listeners.http.local_addr()?);
    let postgres = listeners.postgres.local_addr()?;
    access::require_guard("SQL", &guard, address)?;
    access::require_guard("SQL", &guard, postgres)?;
    let lake = Lake::at(&config.lake(), process_environment())?;
    let mut parts = Parts::default();
    parts.query(listeners, guard, lake, query_settings(&config)?.with_process_watched())?;
    println!("ask SQL at       {scheme}://{address}/v1/sql");
    println!("  or with psql   {}", postgres_url(postgres));
    parts.supervise().await
}

/// The query part of `footfall up`, in this process of its own.
///
/// # Errors
/// As [`up`].
pub async fn query_under_up(config: Config, spill: PathBuf) -> anyhow::Result<()> {
    let guard = access::query(&config)?;
    let listeners = query_process::given_listeners()?;
    // The file may be another by now, the listeners are not.
    access::require_guard("SQL", &guard, listeners.http.local_addr()?)?;
    access::require_guard("SQL", &guard, listeners.postgres.local_addr()?)?;
    let lake = Lake::at(&config.lake(), process_environment())?;
    // Within a folder that nobody else may enter: the engine makes its own anew.
    let spill_folder = Some(spill.join("rows"));
    let settings = QuerySettings { spill_folder, ..query_settings(&config)? };
    let mut parts = Parts::default();
    parts.query(listeners, guard, lake, settings.with_process_watched())?;
    tokio::select! {
        ended = parts.query.ended() => ended,
        told = query_process::stop_told(spill) => told.and(parts.query.stop().await),
    }
}

/// The parts of this process. They stop one after the other: nothing may come in that nobody folds.
#[derive(Default)]
struct Parts {
    ingest: Running,
    pipeline: Running,
    query: Running,
    /// Of SIGHUP, for the pipeline.
    reload: Option<Signal>,
}

#[derive(Default)]
struct Running {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Running {
    /// The next task that ends; never while there is none.
    async fn ended(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => ended.context("a part broke off")?,
            None => std::future::pending().await,
        }
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.context("a part broke off").and_then(|ended| ended);
            result = result.and(ended);
        }
        result
    }
}

impl Parts {
    fn ingest(
        &mut self,
        listener: TcpListener,
        settings: IngestSettings,
        log: Arc<dyn EventLog>,
        bridges: Vec<MappedTopic>,
    ) -> anyhow::Result<()> {
        let metrics = footfall_ingest::Metrics::new(&registry()?)?;
        let shared = Arc::new(settings.clone());
        for bridge in bridges {
            let bridge = bridge.join(shared.clone(), log.clone(), metrics.clone())?;
            let stop = self.ingest.stop.clone();
            self.ingest.tasks.spawn(async move { Ok(bridge.run(stop).await?) });
        }
        let stop = self.ingest.stop.clone();
        self.ingest.tasks.spawn(async move {
            Ok(footfall_ingest::serve(listener, log, settings, metrics, stop).await?)
        });
        Ok(())
    }

    /// The door through which an operator replays what was rejected.
    fn operator(&mut self, log: Arc<dyn EventLog>, settings: IngestSettings, config: &Config) {
        let Some(listener) = operator::listen(&config.data_dir) else { return };
        let stop = self.ingest.stop.clone();
        self.ingest.tasks.spawn(async move {
            operator::serve(listener, log, settings, stop).await;
            Ok(())
        });
    }

    async fn pipeline(
        &mut self,
        listener: TcpListener,
        guard: Guard,
        log: Arc<dyn EventLog>,
        lake: Lake,
        config: &Config,
    ) -> anyhow::Result<()> {
        let registry = registry()?;
        let metrics = footfall_pipeline::Metrics::register(&registry)?;
        let (settings, health) = (pipeline_settings(config), Health::default());
        let pipeline = Pipeline::open(log, lake, settings, metrics, health.clone()).await?;
        let (signals, tail, live) = (pipeline.signals(), pipeline.tail(), pipeline.live());
        let (rules, stop) = (pipeline.rules(), self.pipeline.stop.clone());
        let follow = follow_rules(self.reload.take(), config.clone(), rules, stop);
        self.pipeline.tasks.spawn(follow);
        let erasures = pipeline.erasures();
        let shown = Shown { health, signals, tail, live, erasures, registry };
        let stop = self.pipeline.stop.clone();
        self.pipeline.tasks.spawn(async move {
            Ok(footfall_pipeline::serve(listener, shown, guard, stop).await?)
        });
        // The fold and the writing of files compute for long stretches: they have threads of their own,
        // and those that serve requests do not wait for them.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(PIPELINE_THREADS)
            .thread_name("pipeline")
            .enable_all()
            .build()?;
        let stop = self.pipeline.stop.clone();
        let (done, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("fold".to_owned());
        thread.spawn(move || done.send(runtime.block_on(pipeline.run(stop))))?;
        self.pipeline.tasks.spawn(async move { Ok(ended.await.context("the fold broke off")??) });
        Ok(())
    }

    fn query_process(
        &mut self,
        listeners: QueryListeners,
        own_pipeline: OwnPipeline,
        config: &Config,
    ) -> anyhow::Result<()> {
        let process = QueryProcess::new(listeners, config.arguments(), own_pipeline)?;
        let stop = self.query.stop.clone();
        self.query.tasks.spawn(process.run(stop));
        Ok(())
    }

    fn query(
        &mut self,
        listeners: QueryListeners,
        guard: Guard,
        lake: Lake,
        settings: QuerySettings,
    ) -> anyhow::Result<()> {
        let registry = registry()?;
        let metrics = footfall_query::Metrics::new(&registry)?;
        let engine = Arc::new(Engine::open(lake, settings, metrics)?);
        let QueryListeners { http, postgres } = listeners;
        let (stop, clients, guarded) = (self.query.stop.clone(), engine.clone(), guard.clone());
        self.query.tasks.spawn(async move {
            Ok(footfall_query::serve_postgres(postgres, clients, guarded, stop).await?)
        });
        let stop = self.query.stop.clone();
        self.query.tasks.spawn(async move {
            footfall_query::serve(http, engine, guard, registry, stop).await;
            Ok(())
        });
        Ok(())
    }

    /// Runs until asked to stop, or until a part ends by itself.
    async fn supervise(mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = stop_asked() => Ok(()),
            ended = self.ingest.ended() => ended,
            ended = self.pipeline.ended() => ended,
            ended = self.query.ended() => ended,
        };
        let ingest = self.ingest.stop().await;
        let pipeline = self.pipeline.stop().await;
        let query = self.query.stop().await;
        ended.and(ingest).and(pipeline).and(query)
    }
}

/// Ctrl-C, or the TERM of a service manager.
async fn stop_asked() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

fn require_brokers(config: &Config) -> Result<&str, CalledWrongly> {
    let missing =
        || "a part alone needs Kafka: give --brokers HOST:PORT (`footfall up` needs none)";
    config.log.brokers.as_deref().ok_or_else(|| CalledWrongly(missing().to_owned()))
}

/// All parts in one process have the embedded log: events must not go where nobody looks for them.
fn refuse_brokers(config: &Config) -> Result<(), CalledWrongly> {
    let Some(brokers) = &config.log.brokers else { return Ok(()) };
    Err(CalledWrongly(format!(
        "`footfall up` has a log of its own, but log.brokers is `{brokers}`: run `footfall ingest`, \
         `footfall pipeline` and `footfall query` on Kafka, or leave the brokers out"
    )))
}

fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    Ok(registry)
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}: is it in use? Another port, such as :0, picks a free one"
        )
    })
}

async fn bind_query(config: &Config) -> anyhow::Result<QueryListeners> {
    let (http, postgres) = (&config.query.listen, &config.query.postgres_listen);
    Ok(QueryListeners { http: bind(http).await?, postgres: bind(postgres).await? })
}

/// As psql takes it.
fn postgres_url(address: SocketAddr) -> String {
    format!("postgresql://{address}/footfall")
}

/// The lake of the configuration, made where there is none.
///
/// # Errors
/// As [`Lake::make`].
pub async fn made_lake(config: &Config) -> anyhow::Result<Lake> {
    let lake = Lake::at(&config.lake(), process_environment())?;
    let settings = LakeSettings {
        topic: config.log.topic.clone(),
        partitions: config.log.partitions,
        session_gap: config.rules.session_gap,
        session_cap: config.rules.session_cap,
    };
    lake.make(&settings).await?;
    Ok(lake)
}

/// The embedded log under the data directory, made where there is none.
///
/// # Errors
/// As [`LocalLog::open`]; another process has it open.
pub async fn local_log(config: &Config) -> anyhow::Result<Arc<dyn EventLog>> {
    let (log, directory) = (&config.log, config.data_dir.join("log"));
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut settings = LocalSettings::new(directory, &log.topic, log.partitions);
    settings.retention_ms = log.retention.whole_ms();
    settings.segment_ms = log.segment.whole_ms();
    settings.bytes_max = Some(log.bytes_max);
    let opened = tokio::task::spawn_blocking(|| LocalLog::open(settings)).await??;
    Ok(Arc::new(opened))
}

/// The log on Kafka.
///
/// # Errors
/// Those of [`KafkaLog::open`].
pub async fn kafka_log(config: &Config, brokers: &str) -> anyhow::Result<Arc<dyn EventLog>> {
    let log = &config.log;
    let mut settings = KafkaSettings::new(brokers, &log.topic, log.partitions);
    settings.retention_ms = log.retention.whole_ms();
    settings.append_timeout_ms = log.delivery_timeout.as_millis() as u64;
    Ok(Arc::new(KafkaLog::open(settings).await?))
}

/// With the addresses as a browser takes them.
fn welcome([ingest, query, pipeline]: [String; 3], postgres: SocketAddr, config: &Config) {
    let footfall = this_program();
    let wait = config.rules.allowed_lateness.seconds()
        + config.pipeline.commit_interval.as_secs_f64()
        + 1.0;
    println!("Footfall is up.");
    println!("  post events to   {ingest}/v1/events");
    println!("  ask SQL at       {query}/v1/sql");
    println!("    or with psql   {}", postgres_url(postgres));
    println!("  signals come at  {pipeline}/v1/signals");
    println!("Try next, in another terminal; rows appear some {wait:.0} s after their events:");
    let key = if config.keys.is_empty() { "" } else { " --key KEY" };
    println!("  {footfall} sample --sessions 100 --server {ingest}{key}");
    println!("  {footfall} sql --server {query} \\");
    println!("    \"SELECT event_name, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC\"");
}

/// As a shell finds it: it need not lie on the PATH.
fn this_program() -> String {
    let path = std::env::current_exe().map(|path| path.to_string_lossy().into_owned());
    let path = path.unwrap_or_else(|_| "footfall".to_owned());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    match path.bytes().all(is_plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests;
